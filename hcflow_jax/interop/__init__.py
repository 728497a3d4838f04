"""Reads and writes checkpoints of other implementations: the authors' PyTorch release, and Glow models."""
