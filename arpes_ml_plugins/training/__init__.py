"""Training loops of the networks."""
