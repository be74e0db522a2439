"""Written by tools/write_bound_methods.py; do not edit."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Generic

import numpy as np
import torch
import xarray as xr
from typing_extensions import TypeVar

from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.networks.iae import SpectrumManifolds
from arpes_ml_plugins.networks.lpalm import SeparationNetwork
from arpes_ml_plugins.separation.projection import Manifold
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

Data = TypeVar("Data", bound=xr.DataArray | xr.Dataset, default=xr.DataArray)

class BoundMethods(Generic[Data]):
    def choose_components(
        self,
        *,
        max_components: int = 10,
        noise: float | xr.DataArray | None = None,
        nonnegative: bool | None = None,
        channels: Sequence[str] | None = None,
        mask: xr.DataArray | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Find how many components a spectral image holds, with the evidence."""

    def continue_ista(
        self,
        *,
        beta: float | None = None,
        omega: Any = None,
        stderr: Any = None,
        covariance: Any = None,
        statistics: str = "fermion",
        bins: bool | None = None,
        norm: float | str | None = None,
        sign: int | None = None,
        even: bool = False,
        basis: Any = None,
        sparsity: float = 0.0001,
        recipe: str = "robust",
        iterations: int = 5000,
        draws: int = 0,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Continue analytically by sparsity alone: basis pursuit, solved by ISTA or FISTA."""

    def continue_lista(
        self,
        *,
        beta: float | None = None,
        omega: Any = None,
        stderr: Any = None,
        covariance: Any = None,
        statistics: str = "fermion",
        bins: bool | None = None,
        norm: float | str | None = None,
        sign: int | None = None,
        recipe: str = "trained",
        refine: bool | None = None,
        layers: int = 6,
        training_steps: int | None = None,
        training_seed: int = 0,
        draws: int = 0,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Continue analytically by LISTA, the learned optimizer without relaxation."""

    def continue_maxent(
        self,
        *,
        beta: float | None = None,
        omega: Any = None,
        stderr: Any = None,
        covariance: Any = None,
        statistics: str = "fermion",
        bins: bool | None = None,
        norm: float | str | None = None,
        moments: Any = None,
        sign: int | None = None,
        even: bool = False,
        basis: Any = None,
        default_model: str | xr.DataArray = "flat",
        rule: str = "auto",
        preblur: float | str | None = None,
        signed: bool = False,
        orbitals: Sequence[str] | None = None,
        draws: int = 0,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Continue analytically by maximum entropy, for all slices at once."""

    def continue_rlista(
        self,
        *,
        beta: float | None = None,
        omega: Any = None,
        stderr: Any = None,
        covariance: Any = None,
        statistics: str = "fermion",
        bins: bool | None = None,
        norm: float | str | None = None,
        moments: Any = None,
        sign: int | None = None,
        even: bool = False,
        basis: Any = None,
        recipe: str = "general",
        refine: bool | None = None,
        outside: str = "maxent",
        layers: int | None = None,
        training_steps: int | None = None,
        training_seed: int = 0,
        orbitals: Sequence[str] | None = None,
        draws: int = 0,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Continue analytically by a learned optimizer (RLISTA), refined by maximum entropy."""

    def continue_self_energy(
        self,
        *,
        beta: float | None = None,
        omega: Any = None,
        stderr: Any = None,
        constant: float | None = None,
        moment: float | None = None,
        solver: str = "rlista",
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Continue a self-energy analytically, with its real part by Kramers-Kronig."""

    def decompose_counts(
        self,
        *,
        gain: float | None = None,
        iterations: int | None = None,
        series: str | None = "auto",
        calibrate: bool = False,
        precision: str = "auto",
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Denoise as denoise_counts does, with error bars."""

    def decompose_pcp(
        self,
        *,
        sparsity: float | None = None,
        solver: str = "alm",
        tolerance: float = 1e-05,
        iterations: int = 500,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Split an image into a low-rank and a sparse part by principal component pursuit."""

    def decompose_pcp_unet(
        self,
        *,
        recipe: str = "robust",
        iterations: int | None = None,
        networks: int | None = None,
        noise_ratio: float = 0.5,
        sparsity: float | None = None,
        precision: str = "auto",
        batch_size: int | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Denoise as denoise_pcp_unet does, and return all parts of the decomposition."""

    def decompose_pretrained(
        self,
        *,
        adapt: bool = True,
        gain: float | None = None,
        mesh: str | None = "auto",
        series: str | None = "auto",
        calibrate: bool = False,
        precision: str = "auto",
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Denoise as denoise_pretrained does, with error bars."""

    def denoise(
        self,
        *,
        method: str = "auto",
        gain: float | None = None,
        adapt: bool = True,
        repeats: str | None = "auto",
        mesh: str | None = "auto",
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> Data:
        """Denoise ARPES data with the method that suits their noise."""

    def denoise_counts(
        self,
        *,
        gain: float | None = None,
        iterations: int | None = None,
        series: str | Sequence[str] | None = "auto",
        precision: str = "auto",
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> Data:
        """Denoise counts with a network that is trained on these counts alone, by splitting them."""

    def denoise_fixed_input(
        self,
        *,
        iterations: int = 8000,
        learning_rate: float | None = None,
        noise_ratio: float = 0.5,
        precision: str = "auto",
        batch_size: int | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> Data:
        """Denoise with a network whose input is fixed noise, trained by stochastic gradient descent."""

    def denoise_pcp_unet(
        self,
        *,
        recipe: str = "robust",
        iterations: int | None = None,
        networks: int | None = None,
        noise_ratio: float = 0.5,
        sparsity: float | None = None,
        precision: str = "auto",
        batch_size: int | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> Data:
        """Denoise a cut without training data, by principal component pursuit and a network."""

    def denoise_pretrained(
        self,
        *,
        adapt: bool = True,
        gain: float | None = None,
        mesh: str | None = "auto",
        series: str | Sequence[str] | None = "auto",
        repeats: str | None = "auto",
        precision: str = "auto",
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> Data:
        """Denoise counts with a network trained on simulated ARPES scenes, and adapt it to the data."""

    def estimate_noise(
        self,
        *,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Estimate the noise of the data: its gain, whether they are counts, and defects."""

    def feasible_bands(
        self,
        *,
        spectra: xr.DataArray | Mapping[str, xr.DataArray],
        noise: float | xr.DataArray | None = None,
        channels: Sequence[str] | None = None,
        mask: xr.DataArray | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Find all spectra and maps that explain a spectral image as well as those of a separation."""

    def remove_mesh(
        self,
        *,
        gain: float | None = None,
        fixed: bool = True,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Find the mesh in front of the detector in the data themselves, and divide it out."""

    def sample_posterior(
        self,
        *,
        draws: int = 16,
        adapt: bool = True,
        gain: float | None = None,
        mesh: str | None = "auto",
        series: str | None = "auto",
        repeats: str | None = "auto",
        calibrate: bool = False,
        precision: str = "auto",
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> Data:
        """Draw samples of the true image, given the data, around that of denoise_pretrained."""

    def separate_clusters(
        self,
        *,
        n_components: int,
        kind: str = "kmeans",
        by_shape: bool = True,
        noise: float | xr.DataArray | None = None,
        nonnegative: bool | None = None,
        channels: Sequence[str] | None = None,
        mask: xr.DataArray | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Group the pixels of a spectral image by their spectra (k-means or Gaussian mixture)."""

    def separate_gmca(
        self,
        *,
        n_components: int,
        transform: str = "starlet",
        refine: bool = True,
        noise: float | xr.DataArray | None = None,
        nonnegative: bool | None = None,
        shift: str | bool | float = "auto",
        channels: Sequence[str] | None = None,
        mask: xr.DataArray | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Separate a spectral image blindly, by the sparsity of its maps in wavelets (GMCA)."""

    def separate_lpalm(
        self,
        *,
        library: SpectrumLibrary | Mapping[str, xr.DataArray] | None = None,
        n_components: int | None = None,
        network: SeparationNetwork | Mapping[str, Any] | None = None,
        recipe: str | None = None,
        transform: str = "starlet",
        refine: bool = True,
        match: bool = True,
        noise: float | xr.DataArray | None = None,
        nonnegative: bool | None = None,
        shift: str | bool | float = "auto",
        channels: Sequence[str] | None = None,
        mask: xr.DataArray | None = None,
        layers: int = 25,
        training_steps: int | None = None,
        training_seed: int = 0,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Separate a spectral image into components whose spectra are roughly known (LPALM)."""

    def separate_nmf(
        self,
        *,
        n_components: int,
        sparsity: float = 0.0,
        noise: float | xr.DataArray | None = None,
        shift: str | bool | float = "auto",
        channels: Sequence[str] | None = None,
        mask: xr.DataArray | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Separate a spectral image blindly into non-negative spectra and maps (NMF)."""

    def separate_palm(
        self,
        *,
        library: SpectrumLibrary | Mapping[str, xr.DataArray] | None = None,
        n_components: int | None = None,
        sparsity: float = 3.0,
        iterations: int = 200,
        transform: str = "starlet",
        refine: bool = True,
        noise: float | xr.DataArray | None = None,
        nonnegative: bool | None = None,
        shift: str | bool | float = "auto",
        channels: Sequence[str] | None = None,
        mask: xr.DataArray | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Separate a spectral image into components by proximal alternating minimisation (PALM)."""

    def separate_sgmca(
        self,
        *,
        library: SpectrumLibrary
        | SpectrumManifolds
        | Mapping[str, xr.DataArray]
        | Mapping[str, Manifold]
        | Sequence[Manifold],
        n_components: int | None = None,
        manifold: str | None = None,
        recipe: str = "robust",
        transform: str = "starlet",
        match: bool = True,
        refine: bool = True,
        noise: float | xr.DataArray | None = None,
        nonnegative: bool | None = None,
        shift: str | bool | float = "auto",
        channels: Sequence[str] | None = None,
        mask: xr.DataArray | None = None,
        training_steps: int | None = None,
        training_seed: int = 0,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Separate a spectral image whose spectra lie on known manifolds, some or all (sGMCA)."""

    def unmix(
        self,
        *,
        spectra: xr.DataArray | Mapping[str, xr.DataArray],
        noise: float | xr.DataArray | None = None,
        nonnegative: bool | None = None,
        channels: Sequence[str] | None = None,
        mask: xr.DataArray | None = None,
        device: str = "auto",
        rng: int | np.random.Generator | torch.Generator | None = None,
        progress: ProgressOption = "auto",
        dims: Mapping[str, str] | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Map components whose spectra are all known: weighted least squares, pixel by pixel."""
