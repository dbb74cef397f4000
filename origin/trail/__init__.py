"""The audit trail at the origin: appended with each decision, signed, proved, audited."""
