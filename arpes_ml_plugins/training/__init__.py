"""Simulated data, training loops and stored weights."""
