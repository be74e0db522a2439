"""Draw data and results as matplotlib figures."""

from arpes_ml_plugins.plotting.components import components
from arpes_ml_plugins.plotting.counts import component_count
from arpes_ml_plugins.plotting.explore import explore
from arpes_ml_plugins.plotting.images import compare, draws, loss_curve
from arpes_ml_plugins.plotting.noise import diagnose
from arpes_ml_plugins.plotting.spectra import spectrum

__all__ = [
    "compare",
    "component_count",
    "components",
    "diagnose",
    "draws",
    "explore",
    "loss_curve",
    "spectrum",
]
