"""Physical and statistical constants, each in one place."""

from __future__ import annotations

import math

__all__ = [
    "BOLTZMANN",
    "CUT_AT_CENTRE",
    "DIFFERENCE",
    "FWHM",
    "HBAR",
    "MAD_TO_SIGMA",
    "NEGATIVE",
]

BOLTZMANN = 8.617333262e-5
"""Boltzmann's constant in eV / K (CODATA 2018, exact in SI)."""
CUT_AT_CENTRE = (2 * math.pi) ** -0.5
"""Mean of normal noise whose lower half was set to its centre, over its standard deviation."""
DIFFERENCE = 0.15
"""Fraction of negative values, from which values may be a difference."""
HBAR = 0.6582119569509066
"""Reduced Planck constant in eV fs (CODATA 2018, exact in SI)."""
FWHM = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian over its standard deviation."""
NEGATIVE = 1e-3
"""Fraction of negative values, from which something may have been subtracted."""
MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a Gaussian over its median absolute deviation."""
