"""What the edge reports: intake, storage, reconciliation."""
