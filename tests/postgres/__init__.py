"""Tests against a real PostgreSQL server, with real processes of the origin."""
