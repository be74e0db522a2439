"""Simulate data with known truth from physics; nothing is trained here."""
