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

SAVED = 8  # tensors of a layer of LPALM for its backward pass


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
    """The start of eq. 8: equal columns of length 1."""
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
        self.weight = _zeros(layers, channels, sources)  # W, eq. 7
        self.memory = _zeros(layers, sources, sources)  # W_1, eq. 4
        self.log_s_step = _zeros(layers)  # log 1 / L_S
        self.log_a_step = _zeros(layers)  # log 1 / L_A
        self.threshold = _zeros(layers)

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

        The network was trained on ``pixels`` pixels with sources of length 1, so the data are
        brought to that norm; sums over pixels are proportional to their number, so the norm is
        proportional to its root, and the step for A decreases.
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


def _zeros(*shape: int) -> nn.Parameter:
    """In single precision, whatever torch's default is."""
    return nn.Parameter(torch.zeros(shape, dtype=torch.float32, device="cpu"))


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
    """Eq. 4, which does not use the current mixing matrix."""
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
        ``(K, m, n)``, ``(K,)``, zero or above, and ``(K,)``, one over ``L_A``.
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
        turned = weight.mT.contiguous()
        pulls = (turned.reshape(-1, channels) @ data).unflatten(-2, (layers, n)).unbind(-3)
        s = data.new_zeros(len(data), n, data.shape[-1])
        a = mixing
        kept: list[tuple[torch.Tensor, ...]] = []
        for pull, w, limit, step in zip(
            pulls,  # W_k^T X
            turned[:, None].expand(-1, len(data), -1, -1).unbind(),
            threshold.tolist(),
            a_step.tolist(),
            strict=True,
        ):
            before, a_before = s, a
            coupling = torch.bmm(w, a)
            s = soft_threshold(torch.baddbmm(before + pull, coupling, before, alpha=-1), limit)
            gram = torch.bmm(s, s.mT)
            residual = torch.baddbmm(torch.bmm(data, s.mT), a, gram, beta=-1)
            raw = torch.sub(a, residual, alpha=step)
            length = raw.norm(dim=-2, keepdim=True)
            a = raw / length.clamp(min=1.0)
            kept.append((before, a_before, coupling, s, gram, residual, length, a))
        ctx.save_for_backward(data, weight, a_step, *(t for layer in kept for t in layer))
        return a, s

    @staticmethod
    def backward(
        ctx: Any, grad_a: torch.Tensor, grad_s: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        data, weight, a_step, *flat = ctx.saved_tensors
        steps, wide = a_step.tolist(), weight[:, None].expand(-1, len(data), -1, -1).unbind()
        grads: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for k in reversed(range(len(steps))):
            before, a_before, coupling, s, gram, _, length, a = flat[SAVED * k : SAVED * (k + 1)]
            # A <- raw / max(1, |raw|)
            along = (a * grad_a).sum(-2, keepdim=True).masked_fill(length <= 1, 0.0)
            grad_raw = torch.addcmul(grad_a, a, along, value=-1) / length.clamp(min=1.0)
            # raw = A - step (A S S^T - X S^T)
            half = torch.bmm(a_before.mT, grad_raw)
            grad_s = torch.baddbmm(grad_s, half + half.mT, s, alpha=-steps[k])
            grad_s = torch.baddbmm(grad_s, grad_raw.mT, data, alpha=steps[k])
            grad_a = torch.baddbmm(grad_raw, grad_raw, gram, alpha=-steps[k])
            # S <- soft threshold of S - (W^T A) S + W^T X
            grad_z = grad_s.masked_fill(s == 0, 0.0)
            grad_coupling = -torch.bmm(grad_z, before.mT)
            grad_a = torch.baddbmm(grad_a, wide[k], grad_coupling)
            grad_s = torch.baddbmm(grad_z, coupling.mT, grad_z, alpha=-1)
            grads.append((grad_raw, grad_z, grad_coupling))
        raws, zs, couplings = (torch.stack(each) for each in zip(*reversed(grads), strict=True))
        a_before, s, residual = (torch.stack(flat[i::SAVED]) for i in (1, 3, 5))
        through = (data @ zs.transpose(0, 1).flatten(1, 2).mT).sum(0)  # (m, K n)
        grad_w = (a_before @ couplings.mT).sum(1)
        grad_w += through.unflatten(1, (len(zs), -1)).transpose(0, 1)
        grad_limit = -(zs * s.sign()).sum((1, 2, 3))
        return None, None, grad_w, grad_limit, -(raws * residual).sum((1, 2, 3))
