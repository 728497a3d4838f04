"""The same network in plain PyTorch: what ours is timed against, checked by the same numbers from outside.

NCHW, nn.Module, torch.nn.functional, one module a file; built from our config, with our parameter names.
"""
