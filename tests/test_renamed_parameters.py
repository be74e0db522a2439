"""Old names of parameters: they work, warn, and are understood in records and by the CLI."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.cli.run import MethodCommand
from arpes_ml_plugins.errors import ParameterError, RegistrationError
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.plugins.registry import MethodRegistry

ENERGY = np.linspace(-1, 1, 30)
OLD = "'manifolds' is now called 'library'.*until version 0.4"


@pytest.fixture(scope="module")
def library() -> SpectrumLibrary:
    peak = {
        name: np.exp(-((ENERGY - at) ** 2) / 0.02) for name, at in {"l": -0.4, "r": 0.3}.items()
    }
    spectra = {name: xr.DataArray(one, {"eV": ENERGY}, "eV") for name, one in peak.items()}
    return SpectrumLibrary.from_spectra(spectra, shift=0.05)


@pytest.fixture(scope="module")
def image(library) -> xr.DataArray:
    rng = np.random.default_rng(0)
    spectra = np.stack([family.values[0] for family in library.values()])
    maps = 50 * (rng.random((16, 16, 2)) < 0.4)
    return xr.DataArray(
        maps @ spectra + rng.normal(size=(16, 16, 30)), {"eV": ENERGY}, ("y", "x", "eV")
    )


@pytest.fixture(scope="module")
def result(image, library) -> xr.Dataset:
    return image.S.separate_sgmca(library=library, shift=False, rng=0)


def test_the_old_name_warns_and_gives_the_same(image, library, result):
    with pytest.warns(FutureWarning, match=OLD) as caught:
        old = image.S.separate_sgmca(manifolds=library, shift=False, rng=0)
    assert caught[0].filename == __file__
    xr.testing.assert_equal(old, result)
    parameters = old.attrs["provenance"]["record"]["parameters"]
    assert "library" in parameters
    assert "manifolds" not in parameters


def test_both_names_are_refused(image, library):
    with pytest.raises(ParameterError, match="both 'library' and its old name 'manifolds'"):
        arpes_ml_plugins.separate_sgmca(image, library=library, manifolds=library)


def test_an_old_record_is_replayed_without_a_warning(image, result):
    old = result.copy()
    old.attrs["provenance"] = copy.deepcopy(result.attrs["provenance"])
    parameters = old.attrs["provenance"]["record"]["parameters"]
    parameters["manifolds"] = parameters.pop("library")
    xr.testing.assert_equal(arpes_ml_plugins.replay(old, image), result)


@pytest.mark.parametrize("words", [["--manifolds", "@families.nc"], ["--manifolds=@families.nc"]])
def test_the_old_option_of_the_command_line(tmp_path, monkeypatch, capsys, library, words):
    monkeypatch.chdir(tmp_path)
    families = xr.Dataset(dict(library))
    arpes_ml_plugins.save(families, tmp_path / "families.nc")
    command = MethodCommand(plugins().methods["separate_sgmca"])
    context = command.make_context("separate_sgmca", ["in.nc", "out.nc", *words])
    assert list(context.params["library"]) == list(library)
    assert "'manifolds' is now called 'library'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "formerly",
    [{"sigma": ("height", "2.0")}, {"width": ("width", "2.0")}, {"sigma": ("width",)}],
)
def test_renamings_are_checked_when_they_are_registered(formerly):
    def smooth(data, *, width=1.0, device="auto", rng=None, progress=False, dims=None):
        """Smooth the data."""

    with pytest.raises(RegistrationError, match="formerly must map an old name to"):
        MethodRegistry().add(smooth, formerly=formerly)
