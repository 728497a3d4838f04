"""Training: optimizer, state, training step, metrics and the loop."""
