"""Every registered method passes the conformance suite."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import xarray as xr

from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.testing import ConformanceSuite

# One image at a time, on a GPU too: together they round differently, and after four iterations that
# shows.
QUICK = {"iterations": 4, "precision": "float32", "batch_size": 1}


class TestDecomposePcp(ConformanceSuite):
    method = "decompose_pcp"


class TestDenoisePcpUnet(ConformanceSuite):
    method = "denoise_pcp_unet"
    parameters = QUICK


@pytest.mark.slow  # as another class, with a little more
class TestDenoisePcpUnetPublished(ConformanceSuite):
    method = "denoise_pcp_unet"
    parameters = QUICK | {"recipe": "published"}


class TestDecomposePcpUnet(ConformanceSuite):
    method = "decompose_pcp_unet"
    parameters = QUICK


class TestDenoiseFixedInput(ConformanceSuite):
    method = "denoise_fixed_input"
    parameters = QUICK


class TestEstimateNoise(ConformanceSuite):
    method = "estimate_noise"
    one_answer = True


class TestRemoveMesh(ConformanceSuite):
    method = "remove_mesh"
    one_answer = True


@pytest.mark.slow  # as another class, with a little more
class TestRemoveMeshOfEachImage(ConformanceSuite):
    method = "remove_mesh"
    parameters: ClassVar = {"fixed": False}


# The samples are small, and what they show is as narrow as a pixel.
few_counts = pytest.mark.filterwarnings(
    "ignore:.* held-out data better:arpes_ml_plugins.errors.CountsWarning",
    "ignore:.* for data that are no.*:arpes_ml_plugins.errors.CountsWarning",
)


@few_counts
class TestDenoiseCounts(ConformanceSuite):
    method = "denoise_counts"
    parameters: ClassVar = {"iterations": 3, "gain": 1, "series": None, "precision": "float32"}


@pytest.mark.slow  # as another class, with a little more
@few_counts
class TestDecomposeCounts(ConformanceSuite):
    method = "decompose_counts"
    parameters: ClassVar = {
        "iterations": 2,
        "gain": 1,
        "series": None,
        "precision": "float32",
        "calibrate": False,
    }


@few_counts
class TestDenoisePretrained(ConformanceSuite):
    method = "denoise_pretrained"
    parameters: ClassVar = {"adapt": False, "gain": 1, "series": None, "precision": "float32"}


@few_counts
class TestDecomposePretrained(ConformanceSuite):
    method = "decompose_pretrained"
    parameters: ClassVar = {"adapt": False, "gain": 1, "series": None, "precision": "float32"}


@few_counts
class TestSamplePosterior(ConformanceSuite):
    method = "sample_posterior"
    parameters: ClassVar = {"adapt": False, "gain": 1, "draws": 2, "precision": "float32"}
    added = ("draw",)


@few_counts
class TestDenoise(ConformanceSuite):
    method = "denoise"
    parameters: ClassVar = {"gain": 1, "adapt": False}


# The samples are counts along an axis called tau, which no spectrum explains.
strange = pytest.mark.filterwarnings(
    "ignore:continue_:arpes_ml_plugins.errors.DistributionWarning",
    "ignore:continue_:arpes_ml_plugins.errors.ConvergenceWarning",
)
IMAGINARY = {"beta": 10, "stderr": 3.0, "omega": np.linspace(-3, 3, 41)}


@strange
class TestContinueRlista(ConformanceSuite):
    method = "continue_rlista"
    parameters = IMAGINARY


@strange
class TestContinueMaxent(ConformanceSuite):
    method = "continue_maxent"
    parameters: ClassVar = {**IMAGINARY, "stderr": None}


@strange
class TestContinueIsta(ConformanceSuite):
    method = "continue_ista"
    parameters: ClassVar = {**IMAGINARY, "iterations": 100}


@strange
class TestContinueSelfEnergy(ConformanceSuite):
    method = "continue_self_energy"
    parameters = IMAGINARY

    def test_plain_to_netcdf(self, tmp_path):
        """netCDF has no complex numbers, and its writers say so; ``save`` keeps them."""
        with pytest.raises((ValueError, TypeError), match="complex"):
            self.baseline().to_netcdf(tmp_path / "result.nc")


@strange
class TestContinueLista(ConformanceSuite):
    method = "continue_lista"
    parameters: ClassVar = {**IMAGINARY, "training_steps": 2, "layers": 2}


# Smoothly changing humps are no mixture of two spectra. Shifts in energy are looked for in two
# classes only: the same code, which takes most of the time.
no_mixture = pytest.mark.filterwarnings(
    "ignore:(separate_|unmix|feasible_bands):arpes_ml_plugins.errors.DistributionWarning"
)


@no_mixture
class TestSeparatePalm(ConformanceSuite):
    method = "separate_palm"
    parameters: ClassVar = {"n_components": 2, "iterations": 20}
    axes = ("energy", "space")
    one_answer = True


@no_mixture
class TestSeparateLpalm(ConformanceSuite):
    method = "separate_lpalm"
    parameters: ClassVar = {"n_components": 2, "training_steps": 3, "layers": 3, "shift": False}
    axes = ("energy", "space")
    one_answer = True


@no_mixture
class TestSeparateGmca(ConformanceSuite):
    method = "separate_gmca"
    parameters: ClassVar = {"n_components": 2, "shift": False}
    axes = ("energy", "space")
    one_answer = True


@no_mixture
class TestSeparateNmf(ConformanceSuite):
    method = "separate_nmf"
    parameters: ClassVar = {"n_components": 2, "shift": False}
    axes = ("energy", "space")
    one_answer = True


def humps():
    """A family on the energies of the sample data."""
    energy = xr.DataArray(np.linspace(-0.4, 0.1, 20), dims="eV", name="eV")
    energy = energy.assign_coords(eV=energy.values).eV
    one = np.exp(-(((energy + 0.05) / 0.1) ** 2)).drop_vars("eV").assign_coords(eV=energy.values)
    return SpectrumLibrary.from_spectra({"hump": one}, shift=0.05, count=20)


@no_mixture
class TestSeparateSgmca(ConformanceSuite):
    method = "separate_sgmca"
    parameters: ClassVar = {"library": humps(), "n_components": 2}
    axes = ("energy", "space")
    one_answer = True


@no_mixture
class TestSeparateClusters(ConformanceSuite):
    method = "separate_clusters"
    parameters: ClassVar = {"n_components": 2}
    axes = ("energy", "space")
    one_answer = True


@no_mixture
class TestUnmix(ConformanceSuite):
    method = "unmix"
    parameters: ClassVar = {"spectra": {"one": humps()["hump"][0], "other": humps()["hump"][9]}}
    axes = ("energy", "space")
    one_answer = True


@no_mixture
class TestFeasibleBands(ConformanceSuite):
    method = "feasible_bands"
    parameters: ClassVar = {"spectra": {"hump": humps()["hump"][0], "all": humps()["hump"][0] ** 0}}
    axes = ("energy", "space")
    one_answer = True


class TestChooseComponents(ConformanceSuite):
    method = "choose_components"
    parameters: ClassVar = {"max_components": 3}
    axes = ("energy", "space")
    one_answer = True


def test_no_method_is_left_out():
    tested = {cls.method for cls in ConformanceSuite.__subclasses__()}
    ours = {m.name for m in plugins().methods if m.owner == "arpes_ml_plugins"}
    assert ours <= tested
