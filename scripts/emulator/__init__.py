"""The edge emulator: a host that runs the bundle in workerd, and the provider's REST paths that the origin calls."""
