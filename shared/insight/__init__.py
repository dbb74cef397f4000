"""What is reported and compared: edge events, deliveries, reconciliation."""
