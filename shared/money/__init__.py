"""Money: what a payment comes to, signed messages of providers, double entry. Pure."""
