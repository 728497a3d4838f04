"""Models: where flows and nets meet. `hierarchy` is the paper's; `objective` alone knows noise's price in bits."""
