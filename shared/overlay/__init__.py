"""What a viewer sees: the overlay, its words, the viewer's language."""
