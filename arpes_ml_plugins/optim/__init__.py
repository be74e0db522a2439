"""Proximal operators, which several families of algorithms share (pure torch)."""
