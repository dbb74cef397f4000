"""What the edge costs: the provider's prices, counts measured in the emulator, and the plan of a drop."""
