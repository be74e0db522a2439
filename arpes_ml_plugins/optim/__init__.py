"""What the algorithm families share: proximal operators and iteration drivers (pure torch)."""
