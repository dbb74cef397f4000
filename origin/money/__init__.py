"""Money at the origin: the payment port and its adapters, the cashier, the ledger."""
