"""A conformance suite that any registered method must pass, this package's or a plugin's.

In the tests of a plugin::

    from arpes_ml_plugins.testing import ConformanceSuite

    class TestMyMethod(ConformanceSuite):
        method = "denoise_mine"
        parameters = {"strength": 0.5}   # small and quick

It needs pytest, dask and pint.
"""

from __future__ import annotations

from arpes_ml_plugins.testing.conformance import ConformanceSuite

__all__ = ["ConformanceSuite"]
