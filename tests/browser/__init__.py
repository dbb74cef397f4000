"""The overlay component in Chromium, against an edge and an origin that do as the tests say."""
