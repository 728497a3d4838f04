"""Configs: each file's `get_config` overrides the schema in `hcflow_jax.config`."""
