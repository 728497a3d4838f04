"""Measurements: what is claimed anywhere was made by a command here."""
