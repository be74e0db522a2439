"""Stated errors of shifts, and of the spectra that were found together with them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.labelled import tiles

ENERGY = np.linspace(-6, 0, 61)
LINES = {"metal": -1.8, "oxide": -2.9}
ROWS, COLUMNS = np.mgrid[:28, :30]
BESIDE = 0.06, -0.05  # of the library from the data
RAMP = 0.25 * (COLUMNS / 14.5 - 1)
WAVE = 0.12 * np.sin(ROWS / 6) * np.cos(COLUMNS / 9)


def line(centre, energy=ENERGY):
    return np.exp(-((energy - centre) ** 2) / (2 * 0.22**2)) + 0.1


def mixture(shift, counts, seed):
    share = 1 / (1 + np.exp(-(ROWS - 14 + 6 * np.sin(COLUMNS / 5)) / 4))
    parts = zip((share, 1 - share), LINES.values(), strict=True)
    total = sum(part[..., None] * line(c, ENERGY - shift[..., None]) for part, c in parts)
    values = np.random.default_rng(seed).poisson(counts * total / total.max())
    return xr.DataArray(values.astype(float), {"eV": ENERGY}, ("y", "x", "eV"))


@pytest.mark.filterwarnings("ignore:separate_")
@pytest.mark.parametrize("counts", [1000, pytest.param(100, marks=pytest.mark.slow)])
def test_errors_hold_what_shifts_leave_open(counts):
    """Spectra and shifts can move against each other: neither is known better than that."""
    places = zip(LINES.items(), BESIDE, strict=True)
    known = {n: xr.DataArray(line(c + off), {"eV": ENERGY}, "eV") for (n, c), off in places}
    library = SpectrumLibrary.from_spectra(known, shift=0.2, broaden=0.1, count=300, rng=1)
    spectra = np.stack([line(c) for c in LINES.values()])
    spectra = spectra / spectra.max(1, keepdims=True)
    within = []
    for seed, shift in enumerate((RAMP, WAVE)):
        still = shift - shift.mean()
        result = mixture(still, counts, seed).S.separate_sgmca(library=library, rng=0)
        errors = np.abs(result["shift"] - still)
        pull = (result.spectra - spectra) / result.spectra_stderr
        within.append([float((errors < result["shift_stderr"]).mean()), float((pull**2).mean())])
    shifts, pulls = np.mean(within, 0)
    assert 0.6 < shifts < 0.85
    assert pulls**0.5 < 1.4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:separate_")
def test_neighbours_are_asked_where_they_agree():
    """They make a ramp more certain, and shifts at random no worse."""
    places = zip(LINES.items(), BESIDE, strict=True)
    known = {n: xr.DataArray(line(c + off), {"eV": ENERGY}, "eV") for (n, c), off in places}
    library = SpectrumLibrary.from_spectra(known, shift=0.2, broaden=0.1, count=300, rng=1)
    left, held = [], []
    for shift in (RAMP, 0.1 * np.random.default_rng(3).standard_normal(RAMP.shape)):
        still = shift - shift.mean()
        result = mixture(still, 100, 5).S.separate_sgmca(library=library, rng=0)
        off = np.abs(result["shift"] - still)
        left.append(float((off**2).mean()) ** 0.5)
        held.append(float((off < result["shift_stderr"]).mean()))
    assert left[0] < 0.6 * left[1]
    assert 0.6 < held[1] < 0.76
    assert left[1] < 1.1 * float((result["shift_stderr"] ** 2).mean()) ** 0.5


@pytest.mark.filterwarnings("ignore:separate_")
def test_waves_do_not_move_blind_spectra_against_each_other():
    """Pooling neighbours flattens waves, which spectra must not take up: errors were 12 meV."""
    still = WAVE - WAVE.mean()
    result = mixture(WAVE, 100, 0).S.separate_gmca(n_components=2, rng=0)
    errors = np.abs(result["shift"] - still)
    assert float((errors**2).mean()) ** 0.5 < 0.008
    assert float((errors < result["shift_stderr"]).mean()) > 0.55


@pytest.mark.filterwarnings("ignore:separate_")
def test_status_names_shifts_that_reach_the_limit():
    data = mixture(RAMP, 100, 0)
    near, far = (data.S.separate_gmca(n_components=2, rng=0, shift=s) for s in (0.15, 0.5))
    assert "the largest shift looked for" in near.status.item()
    assert "the largest shift looked for" not in far.status.item()


@pytest.mark.filterwarnings("ignore:separate_")
def test_energies_of_grains_are_as_certain_as_their_shifts_are_smooth():
    """No pixel is a mixture: errors of shifts held 0.99 of the pixels."""
    share = 1.0 * (ROWS - 14 + 6 * np.sin(COLUMNS / 5) > 0)
    parts = zip((share, 1 - share), LINES.values(), strict=True)
    total = sum(part[..., None] * line(c, ENERGY - WAVE[..., None]) for part, c in parts)
    values = np.random.default_rng(0).poisson(1000 * total / total.max()).astype(float)
    data = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    known = {n: xr.DataArray(line(c), {"eV": ENERGY}, "eV") for n, c in LINES.items()}
    library = SpectrumLibrary.from_spectra(known, shift=0.2, broaden=0.1, count=300, rng=1)
    result = data.S.separate_sgmca(library=library, rng=0)
    within = np.abs(result["shift"] - (WAVE - WAVE.mean())) < result["shift_stderr"]
    assert 0.55 < float(within.mean()) < 0.85


def grains(seed):
    """Shifts with steps at the borders of four grains."""
    from scipy.ndimage import gaussian_filter

    draw = np.random.default_rng(seed)
    fields = gaussian_filter(draw.standard_normal((4, *ROWS.shape)), (0, 5, 5))
    shift = draw.uniform(-0.2, 0.2, 4)[fields.argmax(0)]
    return shift - shift.mean()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:separate_sgmca")
@pytest.mark.parametrize("counts", [10, 100])
def test_steps_stay_steps(counts):
    within, errors = [], []
    for seed in range(2):
        shift = grains(seed)
        library = SpectrumLibrary.from_spectra(
            {name: xr.DataArray(line(c), {"eV": ENERGY}, "eV") for name, c in LINES.items()},
            shift=0.1,
            broaden=0.05,
            count=100,
            rng=0,
        )
        result = mixture(shift, counts, seed).S.separate_sgmca(library=library, rng=0)
        error = result["shift"].values - shift
        errors.append(error.std())
        within.append((np.abs(error) < result["shift_stderr"].values).mean())
    assert max(errors) < {10: 0.025, 100: 0.008}[counts]
    assert 0.5 < np.mean(within) < 0.9


def test_a_spectrum_that_moves_between_channels_changes_its_height():
    import torch

    from arpes_ml_plugins.separation.moved_spectra import energy_variance

    spectrum = torch.tensor(line(-1.83), dtype=torch.float64)[:, None]
    spectrum = spectrum / spectrum.max()
    variance = energy_variance(spectrum, torch.tensor([0.01]), [None], ENERGY[1] - ENERGY[0])
    moved = torch.tensor(line(-1.82), dtype=torch.float64)
    change = (moved / moved.max() - spectrum[:, 0]).abs()
    assert (variance.sqrt()[:, 0] - change).abs().max() < 0.1 * change.max()
    assert abs(variance.sqrt()[-1, 0] - change[-1]) < 0.3 * change[-1]


@pytest.mark.filterwarnings("ignore:separate_")
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_few_counts_beside_the_library_are_no_shifts(shift):
    """Spectra beside those of the library make grains differ, which is no shift of pixels."""
    energy, centres, beside = np.linspace(-37, -30, 70), (-34.1, -33.15, -32.3), (0.05, -0.06, 0.04)
    rows, columns = np.mgrid[:48, :48]
    level = np.sin(columns / 7 + 1) + np.cos(rows / 9) + 0.5 * np.sin((rows + columns) / 11)
    soft = np.stack([np.exp(-((level - at) ** 2) / 0.5) for at in (-1.1, 0.1, 1.3)])
    drift = shift * (columns / 23.5 - 1)

    def line(centre, off=0.0):
        at = energy - centre - np.asarray(off)[..., None]
        return np.exp(-11 * at**2) + 0.75 * np.exp(-11 * (at + 2.15) ** 2) + 0.1

    moved = [line(centre + off, drift) for centre, off in zip(centres, beside, strict=True)]
    total = sum(m[..., None] * part for m, part in zip(soft / soft.sum(0), moved, strict=True))
    values = np.random.default_rng(100).poisson(2 * total / total.max()).astype(float)
    data = xr.DataArray(values, {"eV": energy}, ("y", "x", "eV"))
    known = {
        n: xr.DataArray(line(c), {"eV": energy}, "eV") for n, c in zip("abc", centres, strict=True)
    }
    library = SpectrumLibrary.from_spectra(known, shift=0.2, broaden=0.1, count=200)
    found = data.S.separate_sgmca(library=library, rng=0)["shift"]
    assert (found == 0).all() if shift == 0 else (found - drift).std() < 0.03


@pytest.mark.parametrize("counts", [pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.filterwarnings("ignore:separate_")
def test_shifts_smaller_than_their_errors_are_not_corrected(counts):
    """Spectra of pixels that are aligned with noise would be narrower, and off."""
    known = {n: xr.DataArray(line(c), {"eV": ENERGY}, "eV") for n, c in LINES.items()}
    library = SpectrumLibrary.from_spectra(known, shift=0.1, broaden=0.1, count=100, rng=1)
    true = np.random.default_rng(counts).normal(0, 0.1, ROWS.shape)
    result = mixture(true, counts, counts).S.separate_sgmca(library=library, rng=0)
    assert "not corrected" in result.status.item()
    within = np.abs(result["shift"] - true + true.mean()) < result["shift_stderr"]
    assert 0.6 < float(within.mean()) < 0.85
    spectra = np.stack([line(c) for c in LINES.values()])
    pull = (result.spectra - spectra / spectra.max(1, keepdims=True)) / result.spectra_stderr
    assert float((pull**2).mean()) < 1.4**2


@pytest.mark.parametrize("lazy", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:separate_")
def test_large_maps_name_shifts_smaller_than_their_errors(lazy, monkeypatch):
    """They said nothing, and their errors left out that lines are broader."""
    monkeypatch.setattr(tiles, "TILES", 16)
    monkeypatch.setattr(tiles, "SIDE", 8)
    known = {n: xr.DataArray(line(c), {"eV": ENERGY}, "eV") for n, c in LINES.items()}
    library = SpectrumLibrary.from_spectra(known, shift=0.1, broaden=0.1, count=100, rng=1)
    draw = np.random.default_rng(3)
    parts = [mixture(draw.normal(0, 0.1, ROWS.shape), 3, seed) for seed in range(4)]
    data = xr.concat(parts, "x")
    if lazy:
        data = pytest.importorskip("dask") and data.chunk(x=30)
    result = data.S.separate_sgmca(library=library, rng=0).compute(scheduler="synchronous")
    assert result.status.item().count("not corrected; lines appear broader") == 1
    spectra = np.stack([line(c) for c in LINES.values()])
    pull = (result.spectra - spectra / spectra.max(1, keepdims=True)) / result.spectra_stderr
    assert float((pull**2).mean()) < 1.4**2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:separate_")
def test_errors_hold_what_single_pixels_shift_beside_their_neighbours():
    known = {n: xr.DataArray(line(c), {"eV": ENERGY}, "eV") for n, c in LINES.items()}
    library = SpectrumLibrary.from_spectra(known, shift=0.1, broaden=0.1, count=100, rng=1)
    within = []
    for seed in range(2):
        own = np.random.default_rng(seed).normal(0, 0.06, ROWS.shape)
        true = RAMP + own - (RAMP + own).mean()
        result = mixture(true, 4, seed).S.separate_sgmca(library=library, rng=0)
        within.append(np.abs(result["shift"] - true) < result["shift_stderr"])
    assert 0.6 < np.mean(within) < 0.85
