"""Trained networks and where they lie: in the package or in the user's cache."""
