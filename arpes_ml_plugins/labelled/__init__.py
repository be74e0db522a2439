"""Labelled data: axes by role, missing values, batches, metadata; the border to torch."""
