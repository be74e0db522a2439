"""Labelled data: axes by role, missing values, batches, metadata, and conversion to torch."""
