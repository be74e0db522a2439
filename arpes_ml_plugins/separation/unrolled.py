"""Unrolled PALM: the learned S- and A-updates of LPALM and its variants, and a fast form of LPALM.

Data ``X (b, m, t)`` are mixed from ``A (b, m, n)`` and ``S (b, n, t)``: ``m`` channels, ``n``
sources, ``t`` pixels. Equation numbers are those of Fahes, Kervazo, Bobin and Tupin, "Unrolling
PALM for sparse semi-blind source separation" (ICLR 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from arpes_ml_plugins.optim.proximal import soft_threshold

__all__ = [
    "A_UPDATES",
    "S_UPDATES",
    "UnrolledSeparation",
    "lpalm",
    "project_columns",
    "start_mixing",
    "unroll_separation",
]


def project_columns(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest matrix whose columns are no longer than 1 (proximal operator in eq. 6).

    Examples
    --------
    >>> project_columns(torch.tensor([[3.0, 0.1], [4.0, 0.0]]))
    tensor([[0.6000, 0.1000],
            [0.8000, 0.0000]])
    """
    return matrix / matrix.norm(dim=-2, keepdim=True).clamp(min=1.0)


def start_mixing(data: torch.Tensor, sources: int) -> torch.Tensor:
    """The start of eq. 8: all columns alike, of length 1."""
    channels = data.shape[-2]
    return data.new_full((*data.shape[:-2], channels, sources), channels**-0.5)


class UnrolledSeparation(nn.Module):
    """LPALM (eq. 8), or a variant of it with other updates (Table 3).

    Parameters
    ----------
    channels, sources, layers
        ``m``, ``n`` and ``K``.
    s_update
        ``"lista-cp"`` (eq. 7: a learned matrix), ``"ista-llt"`` (eq. 11: a learned step) or, for a
        known mixing matrix only, ``"lista"`` (eq. 4).
    a_update
        ``"ista-ll"`` (a learned step), ``"explicit"`` (that of PALM) or ``"fixed"``: the mixing
        matrix is known.
    """

    def __init__(
        self,
        channels: int,
        sources: int,
        layers: int = 25,
        *,
        s_update: str = "lista-cp",
        a_update: str = "ista-ll",
    ) -> None:
        super().__init__()
        self.s_update, self.a_update = s_update, a_update
        self.weight = nn.Parameter(torch.zeros(layers, channels, sources))  # W, eq. 7
        self.memory = nn.Parameter(torch.zeros(layers, sources, sources))  # W_1, eq. 4
        self.log_s_step = nn.Parameter(torch.zeros(layers))  # log 1 / L_S
        self.log_a_step = nn.Parameter(torch.zeros(layers))  # log 1 / L_A
        self.threshold = nn.Parameter(torch.zeros(layers))

    @property
    def layers(self) -> int:
        return len(self.threshold)

    @torch.no_grad()
    def initialise(self, mixing: torch.Tensor, sources: torch.Tensor, sparsity: float) -> None:
        """The start of Appendix A, from one mixing matrix ``(m, n)`` and one ``(n, t)``."""
        s_constant = torch.linalg.matrix_norm(mixing, 2).square()
        a_constant = torch.linalg.matrix_norm(sources, 2).square()
        unit = torch.eye(mixing.shape[1], dtype=mixing.dtype, device=mixing.device)
        self.weight.copy_((mixing / s_constant).expand_as(self.weight))
        self.memory.copy_((unit - mixing.mT @ mixing / s_constant).expand_as(self.memory))
        self.log_s_step.fill_(-float(s_constant.log()))
        self.log_a_step.fill_(-float(a_constant.log()))
        self.threshold.fill_(float(sparsity / s_constant))

    def forward(
        self, data: torch.Tensor, mixing: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixing matrix and sources; ``mixing`` is the start, or the truth if it is fixed."""
        start = start_mixing(data, self.weight.shape[-1]) if mixing is None else mixing
        if self.s_update == "lista-cp" and self.a_update == "ista-ll":
            return lpalm(data, start, self.weight, self.threshold, self.log_a_step.exp())
        return unroll_separation(self, data, start)

    @torch.no_grad()
    def separate(self, data: torch.Tensor, pixels: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixing matrix and sources of data ``(b, m, t)`` of any scale and number of pixels.

        The network has learned on ``pixels`` pixels with sources of length 1, so the data are
        brought to the norm that these have; sums over pixels grow with their number, so the norm
        grows with its root and the step for A falls.
        """
        if self.s_update != "lista-cp" or self.a_update != "ista-ll":
            raise ValueError(f"not for the updates {self.s_update}, {self.a_update}")
        n, more = self.weight.shape[-1], data.shape[-1] / pixels
        size = data.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-30)
        scale = ((n * more) ** 0.5 / size).to(self.weight.dtype)
        scaled = data.to(self.weight.dtype) * scale
        step = self.log_a_step.exp() / more
        mixing, sources = lpalm(scaled, start_mixing(scaled, n), self.weight, self.threshold, step)
        return mixing.to(data.dtype), (sources / scale).to(data.dtype)


def lista_cp(
    net: UnrolledSeparation, k: int, x: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> torch.Tensor:
    """Eq. 7."""
    return soft_threshold(s + net.weight[k].mT @ (x - a @ s), net.threshold[k])


def ista_llt(
    net: UnrolledSeparation, k: int, x: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> torch.Tensor:
    """Eq. 11."""
    return soft_threshold(s + net.log_s_step[k].exp() * a.mT @ (x - a @ s), net.threshold[k])


def lista(
    net: UnrolledSeparation, k: int, x: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> torch.Tensor:
    """Eq. 4, which knows nothing of the mixing matrix at hand."""
    return soft_threshold(net.memory[k] @ s + net.weight[k].mT @ x, net.threshold[k])


def ista_ll(
    net: UnrolledSeparation, k: int, x: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> torch.Tensor:
    """A-update of eq. 8."""
    return project_columns(a - net.log_a_step[k].exp() * (a @ s - x) @ s.mT)


def explicit(
    net: UnrolledSeparation, k: int, x: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> torch.Tensor:
    """A-update of eq. 6: one over the squared spectral norm of the sources."""
    gram = s @ s.mT
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp(min=1e-12)
    return project_columns(a - step[..., None, None] * (a @ gram - x @ s.mT))


def fixed(
    net: UnrolledSeparation, k: int, x: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> torch.Tensor:
    """The mixing matrix is known."""
    return a


Update = Callable[[UnrolledSeparation, int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
S_UPDATES: dict[str, Update] = {"lista-cp": lista_cp, "ista-llt": ista_llt, "lista": lista}
A_UPDATES: dict[str, Update] = {"ista-ll": ista_ll, "explicit": explicit, "fixed": fixed}


def unroll_separation(
    net: UnrolledSeparation, data: torch.Tensor, mixing: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Any pair of updates, differentiated by torch."""
    update_s, update_a = S_UPDATES[net.s_update], A_UPDATES[net.a_update]
    sources = data.new_zeros(*data.shape[:-2], net.weight.shape[-1], data.shape[-1])
    for k in range(net.layers):
        sources = update_s(net, k, data, mixing, sources)
        mixing = update_a(net, k, data, mixing, sources)
    return mixing, sources


def lpalm(
    data: torch.Tensor,
    mixing: torch.Tensor,
    weight: torch.Tensor,
    threshold: torch.Tensor,
    a_step: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 8 in products of the data with thin matrices only.

    ``W^T (X - A S)`` is ``W^T X - (W^T A) S``, and ``(A S - X) S^T`` is ``A (S S^T) - X S^T``: no
    array of the size of the data is made, and all ``W_k^T X`` come from one product. The backward
    pass is written out for the same reason.

    Parameters
    ----------
    data, mixing
        ``(b, m, t)`` and the start ``(b, m, n)``; neither gets a gradient.
    weight, threshold, a_step
        ``(K, m, n)``, ``(K,)`` and ``(K,)``, one over ``L_A``.
    """
    found: tuple[torch.Tensor, torch.Tensor] = _Lpalm.apply(data, mixing, weight, threshold, a_step)
    return found


class _Lpalm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        data: torch.Tensor,
        mixing: torch.Tensor,
        weight: torch.Tensor,
        threshold: torch.Tensor,
        a_step: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        layers, channels, n = weight.shape
        wide = weight.permute(0, 2, 1).reshape(layers * n, channels)
        pulls = (wide @ data).unflatten(-2, (layers, n)).unbind(-3)  # W_k^T X
        s = data.new_zeros(*data.shape[:-2], n, data.shape[-1])
        a = mixing
        kept: list[tuple[torch.Tensor, ...]] = []
        for pull, w, limit, step in zip(
            pulls, weight.unbind(), threshold.unbind(), a_step.unbind(), strict=True
        ):
            before, a_before = s, a
            s = soft_threshold(before - (w.mT @ a) @ before + pull, limit)
            residual = a @ (s @ s.mT) - data @ s.mT
            raw = a - step * residual
            length = raw.norm(dim=-2, keepdim=True)
            a = raw / length.clamp(min=1.0)
            kept.append((before, a_before, s, residual, length, a))
        ctx.save_for_backward(data, weight, a_step, *(t for layer in kept for t in layer))
        return a, s

    @staticmethod
    def backward(
        ctx: Any, grad_a: torch.Tensor, grad_s: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        data, weight, a_step, *flat = ctx.saved_tensors
        layers, channels, n = weight.shape
        grad_w, grad_limit, grad_step = (
            torch.zeros_like(weight),
            weight.new_zeros(layers),
            weight.new_zeros(layers),
        )
        grad_pulls: list[torch.Tensor] = [grad_s] * layers
        for k in reversed(range(layers)):
            before, a_before, s, residual, length, a = flat[6 * k : 6 * k + 6]
            # A <- raw / max(1, |raw|)
            outside = length > 1
            along = (a * grad_a).sum(-2, keepdim=True)
            grad_raw = torch.where(outside, (grad_a - a * along) / length.clamp(min=1.0), grad_a)
            # raw = A - step (A S S^T - X S^T)
            step = a_step[k]
            grad_step[k] = -(grad_raw * residual).sum()
            grad_gram = -step * (a_before.mT @ grad_raw)
            grad_s = grad_s + (grad_gram + grad_gram.mT) @ s + step * (grad_raw.mT @ data)
            grad_a = grad_raw - step * grad_raw @ (s @ s.mT)
            # S <- soft threshold of S - (W^T A) S + W^T X
            grad_z = grad_s * (s != 0)
            grad_limit[k] = -(grad_z * s.sign()).sum()
            coupling = weight[k].mT @ a_before
            grad_coupling = -grad_z @ before.mT
            grad_pulls[k] = grad_z
            grad_w[k] = (a_before @ grad_coupling.mT).reshape(-1, channels, n).sum(0)
            grad_a = grad_a + weight[k] @ grad_coupling
            grad_s = grad_z - coupling.mT @ grad_z
        stacked = torch.cat(grad_pulls, -2)  # (b, K n, t)
        through = data @ stacked.mT  # (b, m, K n)
        through = through.reshape(-1, channels, layers, n).sum(0).permute(1, 0, 2)
        return None, None, grad_w + through, grad_limit, grad_step
