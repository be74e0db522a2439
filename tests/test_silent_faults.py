"""Results that are far from the truth are told: compressed values, maps that are never pure, and
libraries that lack what the lines do.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import DistributionWarning
from arpes_ml_plugins.separation.clipping import clipped
from arpes_ml_plugins.separation.held_lines import holds_another
from arpes_ml_plugins.separation.saturation import saturation
from arpes_ml_plugins.separation.value_noise import noise_and_classes

ENERGY = np.linspace(-36, -29, 48)
ROWS, COLUMNS = np.mgrid[:32, :32]
GRAINS = 1.0 * np.stack(
    [COLUMNS < 12, (COLUMNS >= 12) & (ROWS < 16), (COLUMNS >= 12) & (ROWS >= 16)]
)
UNDERNEATH = np.stack([0.6 + 0.2 * GRAINS[0], 0.2 * GRAINS[1], 0.2 * GRAINS[2]])
DOMINANT = np.stack([0.96 + 0 * GRAINS[0], 0.02 + 0.02 * GRAINS[1], 0.02 * GRAINS[2]])
SLOPES = np.stack([1 - 0.8 * COLUMNS / 31, 0.2 + 0.6 * ROWS / 31, 0.9 - 0.6 * ROWS / 31])
told = pytest.mark.filterwarnings("ignore:separate_:arpes_ml_plugins.errors.DistributionWarning")


def doublet(centre, width=0.5, satellite=0.0):
    def peak(place):
        return np.exp(-4 * np.log(2) * ((ENERGY - place) / width) ** 2)

    return peak(centre) + 0.75 * peak(centre - 2.15) + satellite * peak(centre + 1.2) + 0.1


CENTRES = {"a": -33.0, "b": -32.0, "c": -31.2}
SPECTRA = np.stack([doublet(c) for c in CENTRES.values()])
KNOWN = {n: xr.DataArray(doublet(c), {"eV": ENERGY}, "eV") for n, c in CENTRES.items()}
LIBRARY = SpectrumLibrary.from_spectra(KNOWN, shift=0.1, broaden=0.1, count=150, rng=0)


def counted(maps, spectra=SPECTRA, counts=100, seed=0):
    rate = np.einsum("kyx,ke->yxe", maps, spectra)
    return np.random.default_rng(seed).poisson(counts * rate / rate.max()) * 1.0


def labelled(values):
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))


def worst_angle(result, spectra=SPECTRA):
    found = result.spectra.values / np.linalg.norm(result.spectra.values, axis=1, keepdims=True)
    true = spectra / np.linalg.norm(spectra, axis=1, keepdims=True)
    return np.degrees(np.arccos(np.clip((found @ true.T).max(0), -1, 1))).max()


@told
def test_a_detector_that_saturates_is_told_and_can_be_put_right():
    counts = counted(GRAINS)
    largest = 8 * counts.mean()
    data = labelled(counts / (1 + counts / largest))
    result = data.S.separate_gmca(n_components=3, shift=False, rng=0)
    assert worst_angle(result) > 5
    assert "saturates" in result.status.item()
    named = float(result.status.item().rsplit("data / ", 1)[1].rstrip(")"))
    assert named == pytest.approx(largest, rel=0.15)
    right = (data / (1 - data / named)).S.separate_gmca(n_components=3, shift=False, rng=0)
    assert right.status.item() == "ok"
    assert worst_angle(right) < 1.5


def test_maps_of_known_spectra_tell_that_the_detector_saturates():
    counts = counted(GRAINS)
    spectra = xr.DataArray(SPECTRA, {"component": list("abc"), "eV": ENERGY}, ("component", "eV"))
    assert "saturates" not in labelled(counts).S.unmix(spectra=spectra).status.item()
    data = labelled(counts / (1 + counts / (8 * counts.mean())))
    with pytest.warns(DistributionWarning, match="saturates"):
        data.S.unmix(spectra=spectra)


@pytest.mark.parametrize("counts", [10, 1000])
@pytest.mark.parametrize(("gain", "read"), [(1.0, 0.0), (20.0, 0.0), (1.0, 2.0)])
def test_other_noise_is_no_saturation(counts, gain, read):
    draw = np.random.default_rng(1)
    values = gain * counted(GRAINS, counts=counts) + read * draw.standard_normal((32, 32, 48))
    cube = torch.from_numpy(np.moveaxis(values, 2, 0).copy())
    _, classes = noise_and_classes(cube, torch.ones_like(cube, dtype=torch.bool))
    assert classes is not None
    assert saturation(classes) is None
    assert saturation(classes, gain) is None


@told
@pytest.mark.parametrize("counts", [30, 1000])
def test_raw_counts_show_that_a_tenth_is_lost(counts):
    """Their gain is one, and not a little less."""

    def status(values):
        return labelled(values).S.separate_gmca(n_components=3, shift=False, rng=0).status.item()

    full = counted(GRAINS, counts=counts)
    assert "saturates" not in status(full)
    assert "noise grows less" in status(np.round(full / (1 + full / (9 * counts))))


@told
@pytest.mark.parametrize("method", ["separate_gmca", "separate_nmf"])
@pytest.mark.parametrize("counts", [100, 1000])
def test_maps_that_are_never_pure_are_not_determined(method, counts):
    data = labelled(counted(SLOPES, counts=counts))
    result = getattr(data.S, method)(n_components=3, shift=False, rng=0)
    assert worst_angle(result) > 4
    assert "not determined" in result.status.item()


@pytest.mark.parametrize("method", ["separate_gmca", "separate_nmf"])
@pytest.mark.parametrize("counts", [100, 1000])
def test_pure_pixels_determine_their_spectra(method, counts):
    data = labelled(counted(GRAINS, counts=counts))
    result = getattr(data.S, method)(n_components=3, shift=False, rng=0)
    assert result.status.item() == "ok"
    assert worst_angle(result) < 1


@told
@pytest.mark.parametrize("method", ["separate_gmca", "separate_nmf", "separate_palm"])
@pytest.mark.parametrize("maps", [UNDERNEATH, DOMINANT], ids=["underneath", "dominant"])
def test_spectra_that_hold_what_lies_under_everything_are_not_determined(method, maps):
    data = labelled(counted(maps, counts=1000))
    result = getattr(data.S, method)(n_components=3, shift=False, rng=0)
    assert worst_angle(result) > 4
    assert "not determined: the spectrum holds the lines of another" in result.status.item()


def test_a_background_in_common_is_no_line_of_another():
    spectra = torch.from_numpy(SPECTRA.T + 0.3)
    spectra = spectra / spectra.amax(0)
    errors = torch.full_like(spectra, 1e-3)
    assert not holds_another(spectra, errors).any()
    spectra[:, 1] = 0.7 * spectra[:, 1] + 0.3 * spectra[:, 0]
    assert holds_another(spectra, errors).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("error", [0.0, 1e-9])
def test_spectra_without_errors_hold_others_as_well(error, dtype):
    """Proportions without errors were infinitely precise, and none was a number."""
    spectra = torch.from_numpy(SPECTRA.T / SPECTRA.max(1)).to(dtype)
    errors = torch.full_like(spectra, error)
    assert not holds_another(spectra, errors).any()
    spectra[:, 1] = 0.5 * spectra[:, 1] + 0.5 * spectra[:, 0]
    assert holds_another(spectra, errors).tolist() == [False, True, False]


UNEVEN_LIGHT = GRAINS * (0.2 + 0.8 * np.exp(-((ROWS - 16) ** 2 + (COLUMNS - 16) ** 2) / 100))


def compressed_light(share, counts=2000, maps=UNEVEN_LIGHT):
    """Counts of a detector that loses ``share`` at the brightest value."""
    rate = np.einsum("kyx,ke->yxe", maps, SPECTRA)
    rate = counts * rate / rate.max()
    rate = rate / (1 + rate / counts * share / (1 - share))
    return labelled(np.random.default_rng(0).poisson(rate).astype(float))


@told
@pytest.mark.parametrize("share", [0.08, 0.25])
@pytest.mark.parametrize("blind", [True, False])
def test_a_response_that_bends_shows_in_the_residual(share, blind):
    data = compressed_light(share)
    result = (
        data.S.separate_gmca(n_components=3, rng=0)
        if blind
        else data.S.separate_sgmca(library=LIBRARY, rng=0)
    )
    status = result.status.item()
    assert "flatter lines" in status
    largest = float(status.split("data / (1 - data / ")[1].split(")")[0])
    assert largest == pytest.approx(2000 * (1 - share) / share, rel=0.25)


@told
@pytest.mark.parametrize("share", [0.6, 0.8])
def test_a_response_that_bends_strongly_is_told_without_a_number(share):
    """It was "about 137%", with a K below the largest value."""
    status = compressed_light(share).S.separate_gmca(n_components=3, rng=0).status.item()
    assert "strongly compressed" in status
    assert "%" not in status.split("flatter lines")[1]
    assert "data / (1" not in status


@pytest.mark.parametrize("maps", [UNEVEN_LIGHT, GRAINS], ids=["uneven", "even"])
def test_a_response_in_proportion_does_not_bend(maps):
    result = compressed_light(0.0, maps=maps).S.separate_gmca(n_components=3, rng=0)
    assert result.status.item() == "ok"


def lines_beside(spacing):
    """Of largest value 1: each overlaps the next."""
    return torch.from_numpy(
        np.stack([np.exp(-((ENERGY - c) ** 2) / 0.1) + 0.05 for c in -33 + spacing * np.arange(3)])
    ).mT


def test_a_weak_share_is_held_also_where_lines_overlap():
    spectra = lines_beside(0.8)
    errors = torch.full_like(spectra, 5e-3)
    assert not holds_another(spectra, errors).any()
    spectra[:, 1] += 0.1 * spectra[:, 2]
    assert holds_another(spectra / spectra.amax(0), errors).tolist() == [False, True, False]


def test_lines_close_to_each_other_hold_nothing():
    spectra = lines_beside(0.2)
    assert not holds_another(spectra, torch.full_like(spectra, 5e-3)).any()


@told
@pytest.mark.parametrize("counts", [10, 1000])
def test_a_weak_component_under_everything_is_told(counts):
    under = GRAINS + np.array([0, 0, 0.1])[:, None, None]
    result = labelled(counted(under, counts=counts)).S.separate_gmca(n_components=3, rng=0)
    assert worst_angle(result) > 4
    assert "not determined: the spectrum holds the lines of another" in result.status.item()


def test_slopes_within_noise_are_no_lines():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(48, 2, generator=generator, dtype=torch.float64)
    assert not holds_another(1 + 0.1 * noise, torch.full_like(noise, 0.1)).any()


@told
@pytest.mark.parametrize(("maps", "determined"), [(GRAINS, True), (SLOPES, False)])
def test_a_free_component_beside_known_ones_that_no_pixel_shows_alone(maps, determined):
    two = SpectrumLibrary({name: LIBRARY[name] for name in "ab"})
    data = labelled(counted(maps, counts=1000))
    result = data.S.separate_sgmca(library=two, n_components=3, shift=False, rng=0)
    status = result.status.item()
    assert (worst_angle(result) < 1) == determined
    assert (status == "ok") == determined
    assert ("'free 1' is not determined" in status) != determined


def test_counting_components_tells_that_the_detector_saturates():
    counts = counted(GRAINS)
    for values, dulled in ((counts, False), (counts / (1 + counts / (8 * counts.mean())), True)):
        count = labelled(values).S.choose_components(max_components=3, rng=0)
        assert ("saturates" in count.reason.item()) == dulled


@told
@pytest.mark.parametrize("change", [{"width": 0.65}, {"satellite": 0.15}])
@pytest.mark.parametrize("maps", [GRAINS, SLOPES], ids=["pure", "mixed"])
def test_lines_that_the_library_lacks_are_told(change, maps):
    spectra = SPECTRA.copy()
    spectra[1] = doublet(CENTRES["b"], **change)
    data = labelled(counted(maps, spectra))
    result = data.S.separate_sgmca(library=LIBRARY, shift=False, rng=0)
    assert "family of 'b'" in result.status.item()
    assert "'a'" not in result.status.item()
    if maps is GRAINS:  # pixels of b alone show its spectrum
        assert worst_angle(result, spectra) < 1


@told
@pytest.mark.parametrize("counts", [30, 300])
@pytest.mark.parametrize("method", ["separate_gmca", "separate_nmf"])
def test_values_that_are_cut_off_are_told(method, counts):
    values = counted(GRAINS, counts=counts)
    data = labelled(values.clip(max=np.floor(0.6 * counts)))
    result = getattr(data.S, method)(n_components=3, shift=False, rng=0)
    assert worst_angle(result) > 4
    assert "values are cut off" in result.status.item()
    count = data.S.choose_components(max_components=3, rng=0)
    assert "values are cut off" in count.reason.item()


@pytest.mark.parametrize("counts", [0.02, 0.3, 3, 30, 300])
@pytest.mark.parametrize("seed", [0, 1])
def test_values_that_are_equal_by_chance_are_not_cut_off(counts, seed):
    values = counted(GRAINS, counts=counts, seed=seed)
    per_pixel = values / values.max(-1, keepdims=True).clip(min=1)
    rounded = np.round(values + np.random.default_rng(seed).normal(size=values.shape), 1)
    for one in (values, per_pixel, rounded):
        cube = torch.from_numpy(np.moveaxis(one, 2, 0).copy())
        everywhere = torch.ones_like(cube, dtype=torch.bool)
        _, classes = noise_and_classes(cube, everywhere)
        if classes is not None:
            assert clipped(cube, everywhere, float(classes.variance.max()) ** 0.5) == 0
