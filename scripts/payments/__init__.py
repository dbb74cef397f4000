"""A payment provider for development and tests, as a process of its own; its API is in `scripts.payments.server`."""
