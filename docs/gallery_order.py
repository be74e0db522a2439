"""The order of the gallery: from easy to hard within each of the three subjects."""

from __future__ import annotations

__all__ = ["EasyFirst"]

ORDER = (
    "plot_denoise_cut.py",
    "plot_fermi_map.py",
    "plot_mesh.py",
    "plot_fit_errors.py",
    "plot_gap.py",
    "plot_two_stage.py",
    "plot_continuation.py",
    "plot_self_energy.py",
    "plot_separation.py",
    "plot_series.py",
    "plot_charging.py",
)


class EasyFirst:
    """Sort key of sphinx-gallery."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __call__(self, name: str) -> int:
        return ORDER.index(name)
