"""Training: optimizer, state, step, metrics and the loop that drives them."""
