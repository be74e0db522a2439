"""Bands of all non-negative spectra and maps that explain the data as well as a separation."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins import feasible_bands, plotting
from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.separation.feasible import feasible

ENERGY = np.linspace(-1, 1, 40)
open_bands = pytest.mark.filterwarnings(
    "ignore:feasible_bands:arpes_ml_plugins.errors.DistributionWarning"
)


def line(centre, width=0.2, floor=0.05):
    return np.exp(-((ENERGY - centre) ** 2) / (2 * width**2)) + floor


def overlapping(seed, count, shape=(32, 32)):
    """Spectra that overlap ``(count, energies)``, and smooth maps ``(count, y, x)``, each zero
    somewhere, none alone anywhere.
    """
    rng = np.random.default_rng(seed)
    centres = np.linspace(-0.5, 0.5, count) + rng.uniform(-0.1, 0.1, count)
    y, x = np.mgrid[: shape[0], : shape[1]] / shape[0]

    def hill():
        at, width = rng.random(2), rng.uniform(0.1, 0.3)
        return np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * width**2))

    maps = np.stack([hill() + hill() + 0.1 for _ in range(count)])
    return np.stack([line(c) for c in centres]), maps


def counted(spectra, maps, counts, seed=0):
    rate = np.einsum("ke,kyx->yxe", spectra, maps)
    scale = counts / rate.max()
    drawn = np.random.default_rng(seed).poisson(scale * rate).astype(float)
    return xr.DataArray(drawn, {"eV": ENERGY}, ("y", "x", "eV")), scale * maps


def labelled(spectra):
    return xr.DataArray(
        spectra, {"component": np.arange(1, len(spectra) + 1), "eV": ENERGY}, ("component", "eV")
    )


def mixed(spectra, share=0.1):
    """Other spectra of the same space, as a blind separation returns them."""
    return spectra + share * (spectra.sum(0) - spectra)


def exactly(spectra, maps, given, noise=1e-7):
    """Bands of data without noise."""
    values = torch.from_numpy(np.einsum("ke,kyx->eyx", spectra, maps))
    return feasible(
        values,
        torch.ones(values.shape[1:], dtype=torch.bool),
        torch.ones(values.shape, dtype=torch.bool),
        torch.from_numpy(given.T.copy()),
        noise=torch.full((len(values),), noise, dtype=torch.float64),
    )


# -- against what is known exactly ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_two_components_have_the_limits_of_lawton_and_sylvestre(seed):
    """Each spectrum less as much of the other as leaves it non-negative, or more of the other as
    long as its own map allows.
    """
    spectra, maps = overlapping(seed, 2)
    given = mixed(spectra)
    found = exactly(spectra, maps, given)
    for k in (0, 1):
        own, other = spectra[k], spectra[1 - k]
        ends = [
            own - (own / other).min() * other,
            own + (maps[1 - k] / maps[k]).min() * other,
        ]
        ends = np.stack([end / end.sum() for end in ends]) * given[k].sum()
        np.testing.assert_allclose(found.spectra_lower[:, k], ends.min(0), atol=2e-5)
        np.testing.assert_allclose(found.spectra_upper[:, k], ends.max(0), atol=2e-5)


def test_no_solution_is_outside_the_bands_of_three_components():
    """Solutions drawn at random in a wide surrounding: none may be beyond the extremes."""
    spectra, maps = overlapping(3, 3, (16, 16))
    given = mixed(spectra, 0.02)
    found = exactly(spectra, maps, given)
    rng, inside = np.random.default_rng(0), 0
    flat = maps.reshape(3, -1)
    for _ in range(4000):
        turned = np.eye(3) + rng.normal(scale=0.2, size=(3, 3)) * rng.random()
        other = np.linalg.inv(turned).T @ spectra
        if (turned @ flat).min() < 0 or other.min() < 0:
            continue
        inside += 1
        other = (other / other.sum(1, keepdims=True) * given.sum(1, keepdims=True)).T
        assert (other >= found.spectra_lower.numpy() - 0.01).all()
        assert (other <= found.spectra_upper.numpy() + 0.01).all()
    assert inside > 30


@open_bands
@pytest.mark.parametrize(("seed", "count"), [(0, 2), (1, 2), (2, 3), (3, 3)])
def test_the_truth_is_inside(seed, count):
    spectra, maps = overlapping(seed, count)
    data, maps = counted(spectra, maps, 100, seed)
    bands = data.S.feasible_bands(spectra=labelled(mixed(spectra)))
    scale = bands.spectra.sum("eV").values / spectra.sum(1)
    truly = spectra * scale[:, None]
    assert (truly >= bands.spectra_lower.values).all()
    assert (truly <= bands.spectra_upper.values).all()
    maps = maps / scale[:, None, None]
    held = (maps >= bands.maps_lower.values) & (maps <= bands.maps_upper.values)
    assert held.mean() > 0.99
    total = spectra.sum(1) * maps.mean((1, 2)) * scale
    share = total / total.sum()
    assert (share > bands.share_lower.values).all()
    assert (share < bands.share_upper.values).all()
    assert float(bands.residual_chi2.mean()) == pytest.approx(1, abs=0.05)


def grains(shape=(32, 32), side=8):
    """Maps of three materials, each alone in its grains."""
    number = np.random.default_rng(1).integers(0, 3, (shape[0] // side, shape[1] // side))
    number = number.repeat(side, 0).repeat(side, 1)
    return np.stack([(number == k) * 1.0 for k in range(3)])


def apart():
    """Spectra that each have energies of their own."""
    return np.stack([line(c, 0.06, 0.0) for c in (-0.6, 0.0, 0.6)])


def test_pure_pixels_and_energies_determine_everything():
    data, _ = counted(apart(), grains(), 100)
    data = data + np.random.default_rng(3).poisson(0.5, data.shape)  # no channel without noise
    floor = data - 0.5
    bands = floor.S.feasible_bands(spectra=labelled(apart()))
    assert bands.status.item() == "ok"
    assert float(bands.width.max()) < 0.03


@open_bands
def test_what_is_not_determined_is_told():
    """The first material is nowhere alone: its spectrum may hold any share of the second."""
    spectra, maps = apart() + 0.02, grains()
    maps[1] = np.maximum(maps[1], 0.4 * maps[0])
    bands = counted(spectra, maps, 100)[0].S.feasible_bands(spectra=labelled(spectra))
    assert "'1' is not determined" in bands.status.item()
    assert "'3' is not determined" not in bands.status.item()
    assert bands.width.values[0] > 0.2
    assert bands.width.values[2] < 0.1


@open_bands
def test_grains_count_for_more_than_their_pixels():
    """Means over neighbours have less noise: in no order, the same pixels determine less."""
    spectra, maps = apart() + 0.02, grains()
    data, _ = counted(spectra, maps, 20)
    order = np.random.default_rng(0).permutation(data.sizes["y"] * data.sizes["x"])
    flat = data.values.reshape(-1, len(ENERGY))[order].reshape(data.shape)
    known = labelled(spectra)
    noise = float(np.sqrt(data.mean()))
    widths = [
        feasible_bands(one, spectra=known, noise=noise).width.values.max()
        for one in (data, data.copy(data=flat))
    ]
    assert widths[0] < 0.6 * widths[1]


@open_bands
@pytest.mark.parametrize("narrow", [False, True])
def test_the_figure_shows_the_bands(narrow):
    spectra, maps = overlapping(0, 2)
    data, _ = counted(spectra, maps, 100)
    data = data[:, 3] if narrow else data
    bands = data.S.feasible_bands(spectra=labelled(mixed(spectra)))
    figure = plotting.components(bands)
    axes = figure.axes[0]
    low, high = (float(100 * bands[f"share_{end}"][0]) for end in ("lower", "upper"))
    assert axes.get_title() == f"component 1: {low:.0f} to {high:.0f} %"
    drawn = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert drawn.max() == pytest.approx(float(bands.spectra_upper[0].max()))
    maps_drawn = figure.axes[3].collections
    assert len(maps_drawn) == 1  # a band beside a curve, or an image
    plt.close(figure)
    with pytest.raises(DataError, match="share_upper"):
        plotting.components(bands.drop_vars("share_upper"))


# -- what may go wrong ---------------------------------------------------------------------------


@open_bands
def test_solutions_that_are_negative_are_told():
    spectra, maps = overlapping(0, 2)
    data, _ = counted(spectra, maps, 100)
    over = spectra - 0.9 * (spectra / spectra[::-1]).min(1)[:, None] * spectra[::-1]
    far = np.stack([over[0] - 0.2 * spectra[1], over[1]])
    assert "not among those" in data.S.feasible_bands(spectra=labelled(far)).status.item()
    dark = data - 25.0
    status = dark.S.feasible_bands(spectra=labelled(mixed(spectra))).status.item()
    assert "without negative values explain" in status


@open_bands
def test_missing_components_and_wrong_spectra_are_told():
    spectra, maps = overlapping(1, 3)
    data, _ = counted(spectra, maps, 100)
    few = data.S.feasible_bands(spectra=labelled(mixed(spectra)[:2])).status.item()
    assert "chi^2" in few
    other = np.stack([spectra[0], spectra[1], spectra[2] + 2 * line(-0.9, 0.03)])
    assert "'3' is not in the data" in data.S.feasible_bands(spectra=labelled(other)).status.item()


@open_bands
def test_one_component_and_missing_pixels():
    spectra, maps = overlapping(1, 2)
    data, _ = counted(spectra[:1], maps[:1], 100)
    mask = xr.DataArray(np.arange(32) < 20, dims="x")
    data[3, 4] = np.nan
    before = data.copy(deep=True)
    bands = data.S.feasible_bands(spectra={"only": labelled(spectra)[0].drop_vars("component")},
                                  mask=mask)  # fmt: skip
    assert bands.status.item() == "ok"
    assert bands.component.values.tolist() == ["only"]
    assert float(bands.width.max()) == 0
    assert bands.maps_upper[0].isnull().sum() == 1 + 32 * 12
    xr.testing.assert_identical(data, before)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda d, s: (d, s.isel(component=[0, 0])), ParameterError, "name of its own"),
        (lambda d, s: (d, s.copy(data=s.values[[0, 0]])), DataError, "independent"),
        (lambda d, s: (d, "blind"), ParameterError, "result.spectra"),
        (lambda d, s: (d[:2, :2], s), DataError, "expected at least 8"),
        (lambda d, s: (d, s.assign_coords(eV=ENERGY + 9)), AxisError, "library only from"),
        (lambda d, s: (-d, s), DataError, "negative on average"),
    ],
)
def test_bad_input(change, error, words):
    spectra, maps = overlapping(0, 2)
    data, given = change(counted(spectra, maps, 100)[0], labelled(spectra))
    with pytest.raises(error, match=words):
        feasible_bands(data, spectra=given)
