"""Measures a trained model: bits/dim, distances between image sets, nearest images and exactness."""
