"""Programs that a person starts (run, test, check, bench, lock, bundle), and the modules behind them."""
