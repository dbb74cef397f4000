"""Fulfilment at the origin: partners, the courier that tells them what was sold, and what they report."""
