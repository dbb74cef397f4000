"""Fulfilment: what a partner is told of what was sold, signed webhooks, what a partner tells of it. Pure."""
