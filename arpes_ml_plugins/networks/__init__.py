"""Trained networks, stored in the package or in the user's cache."""
