"""Learned denoising, analytic continuation and source separation for ARPES data in xarray.

Importing this package adds its methods to ``.S`` of PyARPES (or a ``.S`` of its own without
PyARPES) and to ``.arpes_ml``; each is also a function of this module. Neither torch nor PyARPES is
imported before it is needed.
"""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Any

from arpes_ml_plugins.accessor import MethodsAccessor, attach
from arpes_ml_plugins.fitting import fit_draws
from arpes_ml_plugins.labelled.files import load, save
from arpes_ml_plugins.labelled.progress import Progress
from arpes_ml_plugins.networks.iae import train_iae
from arpes_ml_plugins.networks.lpalm import train_lpalm
from arpes_ml_plugins.networks.rlista import train_rlista
from arpes_ml_plugins.photoemission import as_measured, spectral_function_of
from arpes_ml_plugins.planning import counts_needed
from arpes_ml_plugins.plugins.call import public_function
from arpes_ml_plugins.plugins.hookspecs import hookimpl
from arpes_ml_plugins.plugins.manager import plugins as _plugins
from arpes_ml_plugins.plugins.replay import replay
from arpes_ml_plugins.simulation.greens_function import simulate_greens_function
from arpes_ml_plugins.simulation.scene import simulate_scene
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    from arpes_ml_plugins.methods.choose_components import choose_components as choose_components
    from arpes_ml_plugins.methods.continue_ista import continue_ista as continue_ista
    from arpes_ml_plugins.methods.continue_maxent import continue_maxent as continue_maxent
    from arpes_ml_plugins.methods.continue_rlista import continue_lista as continue_lista
    from arpes_ml_plugins.methods.continue_rlista import continue_rlista as continue_rlista
    from arpes_ml_plugins.methods.continue_self_energy import (
        continue_self_energy as continue_self_energy,
    )
    from arpes_ml_plugins.methods.decompose_pcp import decompose_pcp as decompose_pcp
    from arpes_ml_plugins.methods.denoise import denoise as denoise
    from arpes_ml_plugins.methods.denoise_counts import decompose_counts as decompose_counts
    from arpes_ml_plugins.methods.denoise_counts import decompose_pretrained as decompose_pretrained
    from arpes_ml_plugins.methods.denoise_counts import denoise_counts as denoise_counts
    from arpes_ml_plugins.methods.denoise_counts import denoise_pretrained as denoise_pretrained
    from arpes_ml_plugins.methods.denoise_pcp_unet import decompose_pcp_unet as decompose_pcp_unet
    from arpes_ml_plugins.methods.denoise_pcp_unet import denoise_fixed_input as denoise_fixed_input
    from arpes_ml_plugins.methods.denoise_pcp_unet import denoise_pcp_unet as denoise_pcp_unet
    from arpes_ml_plugins.methods.estimate_noise import estimate_noise as estimate_noise
    from arpes_ml_plugins.methods.feasible_bands import feasible_bands as feasible_bands
    from arpes_ml_plugins.methods.remove_mesh import remove_mesh as remove_mesh
    from arpes_ml_plugins.methods.sample_posterior import sample_posterior as sample_posterior
    from arpes_ml_plugins.methods.separate_blind import separate_gmca as separate_gmca
    from arpes_ml_plugins.methods.separate_blind import separate_nmf as separate_nmf
    from arpes_ml_plugins.methods.separate_clusters import separate_clusters as separate_clusters
    from arpes_ml_plugins.methods.separate_lpalm import separate_lpalm as separate_lpalm
    from arpes_ml_plugins.methods.separate_palm import separate_palm as separate_palm
    from arpes_ml_plugins.methods.separate_sgmca import separate_sgmca as separate_sgmca
    from arpes_ml_plugins.methods.unmix import unmix as unmix

__all__ = [
    "MethodsAccessor",
    "Progress",
    "SpectrumLibrary",
    "as_measured",
    "counts_needed",
    "fit_draws",
    "hookimpl",
    "library",
    "load",
    "methods_available",
    "register",
    "replay",
    "save",
    "simulate_greens_function",
    "simulate_scene",
    "spectral_function_of",
    "train_iae",
    "train_lpalm",
    "train_rlista",
    "unregister",
]


def register(plugin: object, name: str | None = None) -> str:
    """Register a plugin in this process; its methods appear on ``.S`` at once.

    Parameters
    ----------
    plugin : module or object
        Module or object with functions marked ``@arpes_ml_plugins.hookimpl``.
    name : str, optional
        Name of the plugin in messages and provenance; default its ``__name__`` or class.

    Returns
    -------
    str
        Name under which it is registered.

    Raises
    ------
    RegistrationError
        The plugin offers something that cannot be registered; the message says what.
    """
    return _plugins().register(plugin, name)


def unregister(name: str) -> None:
    """Remove the plugin ``name``; its methods disappear from ``.S``."""
    _plugins().unregister(name)


def library(name: str) -> Any:
    """Return the library, manifold or set of weights that a plugin registered under ``name``.

    Parameters
    ----------
    name : str
        Name that was passed to ``registry.add`` in the hook ``register_libraries``.

    Returns
    -------
    object
        Return value of its loader, which runs once, at the first use.

    Raises
    ------
    ParameterError
        No library has this name; the message lists the registered ones.
    """
    return _plugins().libraries[name]


def methods_available() -> dict[str, str]:
    """Return the names of all registered methods with the first lines of their documentation."""
    return {method.name: method.summary for method in _plugins().methods}


def __getattr__(name: str) -> Any:
    submodule = sys.modules.get(f"{__name__}.{name}")
    if submodule is not None:  # loaded by an import of this package that Ctrl-C ended
        return submodule
    if not name.startswith("_") and name in _plugins().methods:
        return public_function(_plugins().methods[name])
    close = difflib.get_close_matches(name, __dir__(), n=3) if not name.startswith("_") else []
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted([*globals(), *methods_available()])


attach()
