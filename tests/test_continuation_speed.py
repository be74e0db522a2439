"""What makes maximum entropy fast changes no result."""

from __future__ import annotations

import pytest
import torch

from arpes_ml_plugins.continuation import maxent as module
from arpes_ml_plugins.continuation import newton
from arpes_ml_plugins.continuation.factored import Factored
from arpes_ml_plugins.continuation.kernels import fermion
from arpes_ml_plugins.continuation.maxent import RULES, maxent
from arpes_ml_plugins.continuation.subspace import Subspace

BETA = 20.0
TAU = torch.linspace(0, BETA, 81, dtype=torch.float64)
OMEGA = torch.linspace(-4, 4, 101, dtype=torch.float64)
FLAT = torch.full((len(OMEGA),), 1 / len(OMEGA), dtype=torch.float64)


def case(error, *, own):
    """Whitened kernel and data of twelve spectra, with errors of their own or not."""
    generator = torch.Generator().manual_seed(8)
    centre = torch.linspace(-2, 2, 12, dtype=torch.float64)[:, None]
    truth = (-((OMEGA - centre) ** 2) / 0.1).exp() + (-((OMEGA + centre / 2) ** 2) / 2).exp()
    truth = truth / truth.sum(-1, keepdim=True)
    kernel = fermion(TAU, OMEGA, BETA)
    sizes = torch.rand(12, 81, dtype=torch.float64, generator=generator) + 0.5
    errors = error * (sizes if own else torch.ones_like(sizes))
    noise = torch.randn(12, 81, dtype=torch.float64, generator=generator)
    data = truth @ kernel.mT / errors + noise
    return (Factored(kernel, torch.diag_embed(1 / errors)) if own else kernel / error), data


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("error", [1e-2, 1e-5])
@pytest.mark.parametrize("rule", RULES)
def test_rough_strengths_and_small_hessians_change_nothing(monkeypatch, rule, error, own):
    kernel, data = case(error, own=own)
    fast = maxent(kernel, data, FLAT, rule=rule)
    assert fast.converged.all()
    monkeypatch.setattr(module, "ROUGH", module.EXACT)
    monkeypatch.setattr(newton, "NEXT_TO_NOTHING", 0.0)
    monkeypatch.setattr(newton, "NOTHING", 0.0)
    monkeypatch.setattr(module, "NOTHING", 0.0)
    slow = maxent(kernel, data, FLAT, rule=rule)
    assert (fast.spectrum - slow.spectrum).abs().sum(-1).max() < 1e-4
    for name in ("deviation", "least"):
        torch.testing.assert_close(getattr(fast, name), getattr(slow, name), rtol=1e-3, atol=1e-8)
    torch.testing.assert_close(fast.blur(), slow.blur(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("own", [False, True])
def test_the_hessian_leaves_out_what_adds_nothing(own):
    kernel, data = case(1e-3, own=own)
    default = FLAT.expand(len(data), -1)
    space = Subspace.of(kernel, default.sum(-1))
    alpha = torch.full((len(data),), 1e4, dtype=torch.float64)
    whole, part = (space.hessian(default, alpha, share) for share in (0.0, 1e-6))
    assert part.shape[-1] < 0.8 * whole.shape[-1]
    for share, close in ((1e-6, 1e-3), (1e-8, 1e-4)):
        part = space.hessian(default, alpha, share)
        rest = (whole.shape[-1] - part.shape[-1]) * alpha.log()
        torch.testing.assert_close(
            torch.logdet(part) + rest, torch.logdet(whole), rtol=0, atol=close
        )
