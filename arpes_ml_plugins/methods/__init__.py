"""One file per public verb: xarray in, xarray out. What a family shares lies in its ``_input`` and
``_run``; the algorithms are in :mod:`~arpes_ml_plugins.denoising` and its neighbours.
"""
