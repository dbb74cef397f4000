"""The demo: one campaign, and the small web site that shows its clip."""
