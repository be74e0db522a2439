"""Errors of shifts that data simulated from the result test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_blind_shifts import KINDS
from test_blind_shifts import mixture as blind_mixture
from test_component_shifts import expected, library, maps, mixture

from arpes_ml_plugins.methods.shift_run import of_each
from arpes_ml_plugins.separation import energy_shift
from arpes_ml_plugins.separation.energy_shift import Shifts
from arpes_ml_plugins.separation.shift_scan import Scan
from arpes_ml_plugins.separation.shift_trials import excess

shifted = pytest.mark.filterwarnings("ignore:separate_")


def test_a_search_that_scatters_more_has_larger_errors():
    pixels, used = torch.full((30, 400), 50.0).double(), torch.ones(400, dtype=torch.bool)
    scan = Scan.of(pixels, torch.full((30,), 50.0**0.5).double(), 0.1, (20, 20), used)
    draw, shift = torch.Generator().manual_seed(1), torch.zeros(2, 400).double()
    stderr = torch.tensor([[0.02], [0.01]]).double().expand(2, 400)

    def search(scaled):
        random = torch.randn(2, 400, generator=draw, dtype=torch.float64)
        return random * torch.tensor([[0.06], [0.005]])

    times = excess(scan, pixels, shift, stderr, torch.ones_like(shift), search)
    assert float(times[0]) == pytest.approx(3, rel=0.1)
    assert float(times[1]) == 1  # noise that happens to be small is no reason for less


def test_common_shifts_hold_less_for_a_component_that_shifts_by_itself():
    common = Shifts(torch.zeros(3).double(), torch.full((3,), 0.01).double(), 0.1, found=True)
    weights = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]).double()
    each = of_each(common, torch.tensor([0.0, 0.2]).double(), weights)
    wanted = np.hypot(0.01, [[0, 0.1, 0.2], [0.2, 0.1, 0]])
    np.testing.assert_allclose(each.stderr, wanted)
    assert each.shift.shape == (2, 3)


@pytest.mark.slow
@shifted
def test_errors_hold_for_shifts_by_component_at_few_counts():
    shift, _ = expected("two laws")
    inside = []
    for seed in (1, 2):
        result = mixture("two laws", 20, seed).S.separate_sgmca(
            library=library(), shift="by component", rng=0
        )
        off = np.abs(result["shift"].values - shift) / result["shift_stderr"].values
        inside.append((off < 1)[maps() > 0.3].mean())
    assert 0.6 < np.mean(inside) < 0.78


def test_shifts_of_some_pixels_are_compared_relative_to_their_own_mean(monkeypatch):
    """Of every second pixel of a ramp, the mean differs from that of all by more than errors."""
    asked = []

    def trials(scan, model, shift, *_):
        asked.append((scan, shift))
        return torch.ones(1, 1).double()

    monkeypatch.setattr(energy_shift, "MOST", 300)
    monkeypatch.setattr(energy_shift, "excess", trials)
    energy = torch.linspace(-2, 0, 40).double()
    ramp = torch.linspace(-0.15, 0.15, 24).double().expand(24, -1).flatten()
    line = torch.exp(-(((energy[:, None] + 1 - ramp) / 0.12) ** 2) / 2)
    draw = torch.Generator().manual_seed(0)
    pixels = torch.poisson(200 * line + 10, generator=draw)
    noise = pixels.mean(1).sqrt()
    energy_shift.find_shifts(pixels, noise, 1, 2 / 39, (24, 24))
    scan, shift = asked[0]
    assert scan.shape == (12, 12)
    assert abs(float(shift.mean())) < 1e-6


@shifted
def test_errors_hold_for_blind_shifts_at_few_counts():
    shift = KINDS["ramp"] - KINDS["ramp"].mean()
    result = blind_mixture(shift, 10, 1).S.separate_gmca(n_components=2, rng=0)
    inside = np.abs(result["shift"].values - shift) < result["shift_stderr"].values
    assert 0.58 < inside.mean() < 0.78
