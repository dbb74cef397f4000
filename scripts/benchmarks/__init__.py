"""Benchmarks. They compare within one run, because machines are shared and noisy: ratios and medians count."""
