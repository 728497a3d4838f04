"""Invertible hierarchical generative model for images, in JAX: `docs/` and README.md say how to use it."""
