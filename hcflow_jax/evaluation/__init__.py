"""How good a trained model is: its held-out bound, and distances between image sets."""
