"""Figures and comparisons of trained models. The package uses models only through `api`."""
