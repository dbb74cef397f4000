"""Claims, from the tap to the receipt: keys, tokens, admission, settlement."""
