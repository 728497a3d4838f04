"""The figures of `hcflow figure NAME`, a module each."""
