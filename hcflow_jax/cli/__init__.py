"""Commands beside training, one file each: `python -m hcflow_jax.cli.NAME`."""
