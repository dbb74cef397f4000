"""What is offered: catalogue entries, manifests, prices, stock."""
