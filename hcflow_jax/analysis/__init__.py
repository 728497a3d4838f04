"""Figures and comparisons of trained models. It uses trained models only through `api`."""
