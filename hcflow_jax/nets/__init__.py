"""Networks as Flax Linen modules: layers, resampling, coupling networks, encoder, decoder and style network."""
