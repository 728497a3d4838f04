"""Small programs that build on the pieces of hcflow_jax."""
