"""Picking up: windows, passes, and the scanners that check passes without network."""
