"""Configs. The function `get_config` of each file overrides defaults of `hcflow_jax.config`."""
