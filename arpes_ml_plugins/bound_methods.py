"""What type checkers and editors know of the methods that :mod:`arpes_ml_plugins.accessor` adds.

Methods are added when the package is imported, so nothing can be read from the source. The file
``bound_methods.pyi`` beside this one lists those of the package, with their parameters;
``tools/write_bound_methods.py`` writes it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import xarray as xr

__all__ = ["BoundMethods", "Data"]

Data = TypeVar("Data", bound=xr.DataArray | xr.Dataset)
"""The type of what the methods are bound to, and of what denoising returns."""


class BoundMethods(Generic[Data]):
    """At run time nothing; to type checkers, all methods of the package."""
