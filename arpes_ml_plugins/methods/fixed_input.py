"""Another name of a module; import from ``arpes_ml_plugins.methods.denoise_pcp_unet``."""

from __future__ import annotations

from arpes_ml_plugins.methods.denoise_pcp_unet import denoise_fixed_input

__all__ = ["denoise_fixed_input"]
