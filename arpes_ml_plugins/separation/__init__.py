"""Separate sources: write data as a mixing matrix times sparse sources, and score the result."""

from arpes_ml_plugins.separation.metrics import (
    match,
    nmse,
    separation_ratios,
    spectral_angle,
)

__all__ = ["match", "nmse", "separation_ratios", "spectral_angle"]
