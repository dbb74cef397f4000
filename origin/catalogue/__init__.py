"""The catalogue: the operator API, publishing, and what everyone may read."""
