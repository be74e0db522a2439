"""The methods of this package, registered through the same hooks as those of plugins."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

from arpes_ml_plugins.labelled.axes import IMAGE, find_axis
from arpes_ml_plugins.labelled.devices import resolve_device
from arpes_ml_plugins.methods.choose_components import choose_components
from arpes_ml_plugins.methods.continue_ista import continue_ista
from arpes_ml_plugins.methods.continue_maxent import continue_maxent
from arpes_ml_plugins.methods.continue_rlista import continue_lista, continue_rlista
from arpes_ml_plugins.methods.continue_self_energy import continue_self_energy
from arpes_ml_plugins.methods.decompose_pcp import decompose_pcp
from arpes_ml_plugins.methods.denoise import denoise
from arpes_ml_plugins.methods.denoise_counts import (
    decompose_counts,
    decompose_pretrained,
    denoise_counts,
    denoise_pretrained,
)
from arpes_ml_plugins.methods.denoise_pcp_unet import (
    decompose_pcp_unet,
    denoise_fixed_input,
    denoise_pcp_unet,
)
from arpes_ml_plugins.methods.estimate_noise import estimate_noise
from arpes_ml_plugins.methods.feasible_bands import feasible_bands
from arpes_ml_plugins.methods.remove_mesh import remove_mesh
from arpes_ml_plugins.methods.sample_posterior import sample_posterior
from arpes_ml_plugins.methods.separate_blind import separate_gmca, separate_nmf
from arpes_ml_plugins.methods.separate_clusters import separate_clusters
from arpes_ml_plugins.methods.separate_lpalm import separate_lpalm
from arpes_ml_plugins.methods.separate_palm import separate_palm
from arpes_ml_plugins.methods.separate_sgmca import separate_sgmca
from arpes_ml_plugins.methods.unmix import unmix
from arpes_ml_plugins.networks.stored import STORED, stored_weights
from arpes_ml_plugins.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from arpes_ml_plugins.plugins.offers import LibraryOffers, MethodOffers
    from arpes_ml_plugins.plugins.registry import MethodCall


@hookimpl
def register_methods(registry: MethodOffers) -> None:
    resumable = (denoise, denoise_counts, denoise_pcp_unet, denoise_pretrained)
    for function in (
        decompose_counts,
        decompose_pcp,
        decompose_pcp_unet,
        decompose_pretrained,
        denoise,
        denoise_counts,
        denoise_fixed_input,
        denoise_pcp_unet,
        denoise_pretrained,
        estimate_noise,
        remove_mesh,
        sample_posterior,
    ):
        registry.add(function, roles=IMAGE, resumable=function in resumable)
    continuations: tuple[Callable[..., Any], ...] = (
        continue_ista,
        continue_lista,
        continue_maxent,
        continue_rlista,
        continue_self_energy,
    )
    for function in continuations:
        registry.add(
            function, roles=("tau",), accepts_nan=False, accepts_complex=True, beside=("k",)
        )
    separations: tuple[Callable[..., Any], ...] = (
        choose_components,
        feasible_bands,
        separate_clusters,
        separate_gmca,
        separate_lpalm,
        separate_nmf,
        separate_palm,
        unmix,
    )
    for one in separations:
        registry.add(one, roles=("energy",), beside=("y", "x"))
    registry.add(
        separate_sgmca,
        roles=("energy",),
        beside=("y", "x"),
        formerly={"manifolds": ("library", "0.4")},
    )


@hookimpl
def register_libraries(registry: LibraryOffers) -> None:
    for name in STORED:
        registry.add(name, partial(_copied, name))


def _copied(name: str) -> dict[str, torch.Tensor]:
    """Weights that users may change: the methods keep their own."""
    return {key: weights.clone() for key, weights in stored_weights(name).items()}


@hookimpl(trylast=True)
def resolve_axis(data: xr.DataArray, role: str) -> Hashable | None:
    return find_axis(data, role)


@hookimpl(trylast=True)
def select_device(call: MethodCall) -> str | None:
    return resolve_device("auto")


@hookimpl(trylast=True)
def run_method(call: MethodCall) -> Any:
    return call.run()
