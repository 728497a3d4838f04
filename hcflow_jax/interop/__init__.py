"""The authors' PyTorch release: its settings as our config, its parameter names as our tree."""
