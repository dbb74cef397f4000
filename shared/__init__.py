"""The pure core of Cliptill: value types and decisions.

No I/O, no clock, no randomness: instants, nonces and seeds are arguments. The edge (WebAssembly) and the
origin run these same files.
"""
