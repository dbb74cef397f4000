"""The edge: a stateless Worker that renders overlays, admits taps, signs claims and reports events."""
