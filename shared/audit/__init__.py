"""The audit trail: what is in it, how it is hashed, and how anyone checks it."""
