"""What the clean image lacks is found by comparing it with the data, and only there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from arpes_ml_plugins.denoising.missed import Misfit, faint_ridges
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.posterior import Deviations

SHAPE = (96, 112)
ROWS, COLUMNS = torch.meshgrid(*(torch.arange(float(size)) for size in SHAPE), indexing="ij")
WHITE = NoiseModel(1.0)


def drawn(rate: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.poisson(rate, generator=torch.Generator().manual_seed(seed))


def line(angle: float, width: float = 1.5) -> torch.Tensor:
    """A Gaussian ridge through the middle, of height one."""
    across = math.cos(angle) * (ROWS - 48) + math.sin(angle) * (COLUMNS - 56)
    return torch.exp(-((across / width) ** 2) / 2)


def ridges(counts: torch.Tensor, clean: torch.Tensor, noise: NoiseModel = WHITE) -> torch.Tensor:
    valid = torch.ones_like(clean, dtype=torch.bool)
    return faint_ridges(counts[None], clean[None], valid[None], noise, torch.ones_like(clean))[0]


@pytest.mark.parametrize("angle", [0.0, 0.6, 1.57, 2.3])
@pytest.mark.parametrize("background", [0.3, 3.0, 100.0])
def test_an_erased_ridge_is_found_with_its_height(angle, background):
    """At any angle and level, if a piece of it has four standard deviations."""
    ridge = 0.8 * math.sqrt(background) * line(angle)
    clean = torch.full(SHAPE, background)
    lacking = ridges(drawn(clean + ridge, 0), clean)
    inside = line(angle) > 0.8
    inside[:12], inside[-12:], inside[:, :12], inside[:, -12:] = False, False, False, False
    assert 0.6 < float(lacking[inside].mean() / ridge[inside].mean()) < 1.5
    far = line(angle, 12.0) < 0.1
    assert float(lacking[far].square().mean()) < 0.05 * float(lacking[inside].square().mean())


@settings(max_examples=10, deadline=None, derandomize=True)
@given(level=st.floats(-2, 3), seed=st.integers(0, 999))
def test_noise_alone_is_seldom_taken_for_a_ridge(level, seed):
    clean = torch.full(SHAPE, 10.0**level)
    found = ridges(drawn(clean, seed), clean)
    assert float((found > 0).float().mean()) < 0.25
    assert float(found.square().mean()) < 0.03 * 10**level


@pytest.mark.parametrize("correlation", [0.3, 0.6])
def test_correlated_noise_is_as_seldom_taken_for_a_ridge(correlation):
    """Its power at each ridge is known, and less than that of white noise."""
    noise, clean = NoiseModel(1.0, 0.0, correlation, correlation), torch.full(SHAPE, 20.0)

    def share(counts: torch.Tensor, assumed: NoiseModel) -> float:
        return float((ridges(counts, clean, assumed) > 0).float().mean())

    generator = torch.Generator().manual_seed(0)
    correlated = [noise.measured(clean[None], generator)[0] for _ in range(3)]
    usual = np.mean([share(drawn(clean, seed), WHITE) for seed in range(3)])
    assert np.mean([share(one, noise) for one in correlated]) == pytest.approx(usual, abs=0.05)
    assert np.mean([share(one, WHITE) for one in correlated]) < 0.9 * usual


def test_noise_that_is_louder_needs_a_stronger_ridge():
    clean = torch.full(SHAPE, 5.0)
    counts = clean + 2 * (drawn(clean, 3) - clean)
    valid = torch.ones((1, *SHAPE), dtype=torch.bool)
    quiet, loud = (
        faint_ridges(counts[None], clean[None], valid, WHITE, torch.full((1, *SHAPE), factor))
        for factor in (1.0, 4.0)
    )
    assert float((loud > 0).float().mean()) < 0.25 < float((quiet > 0).float().mean())


def test_what_the_image_shows_clearly_is_not_a_faint_ridge():
    band = 60 * line(0.7)
    clean = band + 3
    assert float(ridges(drawn(clean + 0.3 * band, 1), clean)[line(0.7) > 0.5].max()) == 0


def test_a_faint_ridge_beside_a_bright_band_is_found():
    """The trough beside the band is no ridge that the image shows."""
    away = ROWS - (SHAPE[0] - 1) / 2
    band, ridge = (torch.exp(-((away - place).square()) / 4.5) for place in (0, 11))
    clean = 30 * band + 3
    lacking = ridges(clean + 2.5 * ridge, clean)
    assert float((lacking > 0.5)[ridge > 0.9].float().mean()) > 0.8


def test_pixels_left_out_say_nothing():
    clean, valid = torch.full(SHAPE, 2.0), torch.ones(SHAPE, dtype=torch.bool)
    valid[40:56] = False
    counts = torch.where(valid, clean, 500.0)
    assert (
        float(faint_ridges(counts[None], clean[None], valid[None], WHITE, clean[None]).max()) == 0
    )


class TestMisfit:
    edge = 30 * torch.sigmoid((30 - (ROWS - 48).hypot(COLUMNS - 56)) / 0.5) + 0.01

    def compared(self, clean: torch.Tensor, truth: torch.Tensor, seed: int = 0):
        """A misfit of an image that is kept as it is, and the residual of data of ``truth``."""
        valid = torch.ones((1, *SHAPE), dtype=torch.bool)
        misfit = Misfit(clean[None], valid, 8)
        for draw in range(8):
            misfit.seen[draw] = misfit.compare((drawn(clean, 100 + draw) - clean)[None])
        return misfit, (drawn(truth, seed) - clean)[None], torch.ones((1, *SHAPE))

    @pytest.mark.parametrize("factor", [0.8, 1.25])
    def test_wrong_contrast_is_measured(self, factor):
        clean, everywhere = self.edge + 10, torch.ones((1, *SHAPE), dtype=torch.bool)
        structure = Misfit(clean[None], everywhere, 1).structure[0, 0]
        misfit, residual, louder = self.compared(clean, clean + (factor - 1) * structure)
        ring = (self.edge > 5) & (self.edge < 25)
        found = misfit.contrast(residual, louder)[0].abs()[ring]
        expected = (abs(factor - 1) * structure.abs())[ring]
        assert float((found / expected).median()) == pytest.approx(1, abs=0.3)

    def test_right_contrast_is_no_misfit(self):
        for seed in range(3):
            misfit, residual, louder = self.compared(self.edge, self.edge, seed)
            found = misfit.contrast(residual, louder)[0]
            assert float(found.square().mean()) < 0.01 * float(self.edge.mean())
            assert float(misfit.sharp(residual, louder).mean()) < 0.02 * float(self.edge.mean())

    def test_structure_of_single_pixels_on_a_sharp_line_is_measured(self):
        """Beads along a line of one pixel, which cancel in any average."""
        band = 40 * line(0.5, 0.8)
        wrong = 0.3 * band * torch.where((ROWS + COLUMNS) % 2 > 0, 1, -1)
        misfit, residual, louder = self.compared(band + 10, band + 10 + wrong)
        on = line(0.5, 0.8) > 0.5
        found = float(misfit.sharp(residual, louder)[0][on].mean())
        assert 0.25 < found / float(wrong[on].square().mean()) < 2

    def test_louder_noise_is_not_counted_twice(self):
        """Over-dispersed counts: the excess is proportional to the square of the intensity."""
        generator = torch.Generator().manual_seed(1)
        misfit, residual, louder = self.compared(self.edge, self.edge)
        more = residual * (1 + torch.rand(residual.shape, generator=generator) * self.edge / 10)
        assert float(misfit.sharp(more, louder).mean()) > 0.02
        assert float(misfit.sharp(more, 3 * louder).max()) == 0


def test_structure_that_is_missing_is_missing_together():
    """Along a dozen pixels, as a fit to them must know, and not over the whole image. What is
    missing on the line is elsewhere in its region, whose total the data determine.
    """
    clean, structure = torch.full((1, *SHAPE), 50.0), 2 * line(math.pi / 2, 0.8)[None]
    middle = int(structure[0, 40].argmax())
    nothing = torch.zeros((64, 1, *SHAPE))
    deviations = Deviations(clean, nothing, nothing[0], structure[None], scale=1.0)
    np.testing.assert_allclose(deviations.spread(), structure, atol=1e-6)
    off = deviations.samples(torch.Generator().manual_seed(0))[:, 0] - clean
    largest = float(structure[0, 40, middle])
    assert 0.8 < float(off[:, 40, middle].std(correction=0)) / largest < 1.01
    assert float(off.mean(0).abs().max()) < 1e-4
    assert float((off[:, 40, middle] * off[:, 44, middle]).mean()) > 0.6 * largest**2
    assert abs(float((off[:, 10, middle] * off[:, 80, middle]).mean())) < 0.5 * largest**2
    assert float(off.sum((1, 2)).std()) < 0.1 * float(structure.sum())


def weak(counts: float) -> tuple[np.ndarray, np.ndarray]:
    """A strong band, and a weak one that is no copy of it; and a mask of the latter."""
    row, column = np.indices((128, 128)) / 127
    strong = 1 / (1 + ((column - 0.5 - (row - 0.5) ** 2) / 0.04) ** 2)
    faint = 1 / (1 + ((column - 0.15 - 0.25 * row) / 0.02) ** 2)
    rate = strong + 0.035 * faint + 0.12
    return rate * counts / rate.mean(), faint > 0.5


def test_bars_hold_a_weak_band_that_was_smoothed_away():
    """Without the comparison with the data, 15 to 20 % of its pixels are inside."""
    inside, everywhere = [], []
    for seed in range(2):
        truth, where = weak(4)
        data = xr.DataArray(np.random.default_rng(seed).poisson(truth), dims=("phi", "eV"))
        bars = data.S.decompose_pretrained(adapt=False, mesh=None, gain=1, rng=0)
        held = (bars.lower.values <= truth) & (truth <= bars.upper.values)
        inside.append(held[where].mean())
        everywhere.append(held.mean())
    assert np.mean(inside) > 0.3
    assert 0.6 < np.mean(everywhere) < 0.8


def test_a_round_spot_that_was_removed_is_returned():
    """Pump-induced spots of one image of a series were smoothed away outside of the error bars."""
    row, column = np.indices((64, 64))
    spot = 4 * np.exp(-((row - 30) ** 2 + (column - 35) ** 2) / (2 * 2.5**2))
    counts = torch.from_numpy(np.random.default_rng(0).poisson(5 + spot) * 1.0)[None]
    clean = torch.full_like(counts, 5.0)
    known, ones = torch.ones_like(counts, dtype=torch.bool), torch.ones_like(counts)
    lacking = faint_ridges(counts, clean, known, NoiseModel(1.0), ones)[0]
    assert 2 < float(lacking[30, 35]) < 7
