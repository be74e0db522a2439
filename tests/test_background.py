"""Backgrounds of photoelectron lines: their formulas, and separations with them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad

from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.photoelectron_background import lost, polynomials

ENERGY = np.linspace(-40, -28, 80)
LINES = {"metal": -31.0, "oxide": -34.5}


def line(centre, energy=ENERGY, width=0.5):
    values = np.exp(-(((energy - centre) / width) ** 2))
    return xr.DataArray(values, {"eV": energy}, "eV")


def lines():
    return SpectrumLibrary.from_spectra({n: line(c) for n, c in LINES.items()}, shift=0.2, count=60)


@pytest.mark.parametrize(
    ("kind", "kernel"),
    [("shirley", lambda t: 1.0), ("tougaard", lambda t: t / (1643 + t**2) ** 2)],
)
def test_formulas(kind, kernel):
    """Against the integral, on an uneven axis."""
    energy = np.sort(np.concatenate([np.linspace(-60, -28, 200), np.linspace(-36, -33, 61)]))
    energy = np.unique(energy)
    found = lost(kind, line(-34.5, energy).values[None], line(-34.5, energy).eV)[0]

    def exact(at):
        return quad(lambda e: kernel(e - at) * np.exp(-(((e + 34.5) / 0.5) ** 2)), at, -28,
                    points=[-34.5] if at < -34.5 else None)[0]  # fmt: skip

    wanted = np.array([exact(at) for at in energy[::20]])
    scale = wanted @ found[::20] / (found[::20] @ found[::20])
    np.testing.assert_allclose(scale * found[::20], wanted, atol=0.01 * wanted.max())


@pytest.mark.parametrize("kind", ["shirley", "tougaard"])
def test_they_lie_at_lower_kinetic_energy(kind):
    values = line(-34.5).values
    along = lost(kind, values[None], line(-34.5).eV)[0]
    assert along[0] > 0.5 > 1e-6 > abs(along[-1])
    falling = line(-34.5)[::-1]
    np.testing.assert_allclose(lost(kind, falling.values[None], falling.eV)[0], along[::-1])
    binding = line(-34.5).assign_coords(eV=-ENERGY)
    np.testing.assert_allclose(lost(kind, values[None], binding.eV, True)[0], along)
    named = binding.rename(eV="binding_energy").binding_energy
    np.testing.assert_allclose(lost(kind, values[None], named)[0], along)


def test_polynomials_are_not_negative_and_of_their_degree():
    rows = polynomials(3, ENERGY, 50, np.random.default_rng(0))
    assert rows.min() >= 0
    left = rows - np.stack([np.polyval(np.polyfit(ENERGY + 34, r, 3), ENERGY + 34) for r in rows])
    assert np.abs(left).max() < 1e-9
    assert np.linalg.matrix_rank(rows) == 4


def planted(kind, share, constant=0.0, noise=0.003):
    rng = np.random.default_rng(0)
    pure = np.stack([line(c + 0.07).values for c in LINES.values()])
    spectra = pure + share * lost(kind, pure, line(0).eV)
    y, x = np.mgrid[:26, :26]
    maps = np.stack([0.2 + (x < 12), 0.3 + 1.0 * (y > x)], -1)
    values = maps @ spectra + constant * (1 + 0.5 * np.sin(y / 3))[..., None]
    values += noise * rng.normal(size=values.shape)
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV")), spectra, maps


@pytest.mark.parametrize("kind", ["shirley", "tougaard"])
def test_lines_and_what_they_leave_are_one_component(kind):
    data, spectra, maps = planted(kind, 0.2, constant=0.15)
    library = lines().with_background(kind, (0, 0.4))
    library |= SpectrumLibrary.background("constant", data.eV)
    assert list(library) == ["metal", "oxide", "background"]
    result = data.S.separate_sgmca(library=library, rng=0, shift=False)
    assert result.status.item() == "ok"
    wanted = spectra / spectra.max(1, keepdims=True)
    assert float(np.abs(result.spectra[:2] - wanted).max()) < 0.02
    truly = np.moveaxis(maps * spectra.max(1), -1, 0)
    assert float(np.abs(result.maps[:2] - truly).max()) < 0.03
    assert float(result.spectra[2].min()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "of", "option"),
    [
        ("polynomial", "energy", {"degree": 2}),
        ("shirley", "lines", {}),
        ("tougaard", "lines", {}),
    ],
)
def test_backgrounds_as_components(kind, of, option):
    """One with a map of its own."""
    pure = np.stack([line(c + 0.07).values for c in LINES.values()])
    if of == "lines":
        under = lost(kind, pure.sum(0)[None], line(0).eV)[0]
    else:
        under = polynomials(2, ENERGY, 3, np.random.default_rng(0)).T @ (0.2, 0.9, 0.4)
    y, x = np.mgrid[:26, :26]
    maps = np.stack([0.2 + (x < 12), 0.3 + 1.0 * (y > x), 0.2 + 0.1 * (y % 5)], -1)
    values = maps @ np.stack([*pure, under])
    values += 0.003 * np.random.default_rng(1).normal(size=values.shape)
    data = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    given = data.eV if of == "energy" else lines()
    library = lines() | SpectrumLibrary.background(kind, given, **option)
    result = data.S.separate_sgmca(library=library, rng=0, shift=False)
    assert result.status.item() == "ok"
    assert float(np.abs(result.spectra[:2] - pure / pure.max(1, keepdims=True)).max()) < 0.03
    # Steps have three parameters: 300 samples are some way apart.
    assert float(np.abs(result.spectra[2] - under / under.max()).max()) < 0.05


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_a_floor_under_grains_that_cover_the_map(floor):
    """All maps add up to a constant, so that the data have one direction less than spectra."""
    pure = np.stack([line(c + 0.07).values for c in LINES.values()])
    y, x = np.mgrid[:24, :24]
    maps = np.stack([x < 12 + y // 5, x >= 12 + y // 5], -1) * 1.0
    values = np.random.default_rng(0).poisson(100 * (maps @ pure + floor)) * 1.0
    data = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    library = lines() | SpectrumLibrary.background("constant", data.eV)
    result = data.S.separate_sgmca(library=library, rng=0, shift=False)
    found = result.spectra.values[: len(pure)]
    alike = (found * pure).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(pure, axis=1)
    assert np.degrees(np.arccos(alike)).max() < 1
    if floor:
        assert result.status.item() == "ok"
        assert float(result.maps[-1].mean()) == pytest.approx(100 * floor, rel=0.05)
    else:
        assert "'background' was not detected" in result.status.item()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SpectrumLibrary.background("linear", line(0).eV), "kind"),
        (lambda: SpectrumLibrary.background("shirley", line(0).eV), "SpectrumLibrary of lines"),
        (lambda: SpectrumLibrary.background("constant", lines()), "data.eV"),
        (lambda: SpectrumLibrary.background("polynomial", line(0).eV, degree=-1), "degree"),
        (lambda: SpectrumLibrary.background("polynomial", line(0).eV, degree=9, count=5), "count"),
        (lambda: lines().with_background("constant"), "kind"),
        (lambda: lines().with_background("shirley", (0.3, 0.1)), "share"),
    ],
)
def test_bad_backgrounds(call, words):
    with pytest.raises(ParameterError, match=words):
        call()
