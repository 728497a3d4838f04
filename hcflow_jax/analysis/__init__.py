"""What trained models do, in figures and pictures, on `api` alone."""
