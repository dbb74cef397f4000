"""All tests. What several of them build on has no `test_` in its name."""
