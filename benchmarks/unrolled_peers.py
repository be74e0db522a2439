"""The unsupervised unrolled networks of Table 2, from their descriptions.

Each is trained on the pixels of one image, without any library. Names and settings are those of
Fahes et al. (ICLR 2022), Section 3.2 and Appendix C. Data are ``X (m, t)``, non-negative.

MNNBU: Qian et al., IEEE Trans. Geosci. Remote Sens. 58, 7418 (2020).
SNMF-net: Xiong et al., IEEE Trans. Geosci. Remote Sens. 60, 5510716 (2021).
DNMF: Nasser, Eldar and Sharan, IEEE Trans. Neural Netw. Learn. Syst. 33, 7759 (2022).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from arpes_ml_plugins.separation.least_squares import nonnegative_sources

__all__ = ["PEERS", "dnmf", "mnnbu", "snmf_net", "vertex_components"]

LAYERS = 10
SAMPLE = 5000  # pixels that a network is trained on


def vertex_components(x: torch.Tensor, count: int, seed: int = 0) -> torch.Tensor:
    """VCA (Nascimento and Dias 2005): pixels at the corners of the simplex of the data."""
    draw = torch.Generator().manual_seed(seed)
    basis = torch.linalg.eigh(x @ x.mT).eigenvectors[:, -count:]
    inside = basis.mT @ x
    mean = inside.mean(1, keepdim=True)
    inside = inside / (inside * mean).sum(0).clamp(min=1e-3 * float((mean * mean).sum()))
    corners = torch.zeros(count, count, dtype=x.dtype)
    corners[-1, 0] = 1
    chosen = []
    for i in range(count):
        direction = torch.randn(count, 1, generator=draw, dtype=x.dtype)
        direction = direction - corners @ torch.linalg.pinv(corners) @ direction
        chosen.append(int((direction.mT @ inside).abs().argmax()))
        corners[:, i] = inside[:, chosen[-1]]
    return x[:, chosen].clamp(min=0)


def constrained(x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """FCLS (Heinz et al. 2001): least squares, non-negative and of sum 1."""
    heavy = 10 * x.abs().max()
    row = torch.ones(1, 1, dtype=x.dtype) * heavy
    return nonnegative_sources(
        torch.cat([x, row.expand(1, x.shape[1])]), torch.cat([a, row.expand(1, a.shape[1])])
    )


def to_one(s: torch.Tensor) -> torch.Tensor:
    return s / s.sum(0, keepdim=True).clamp(min=1e-9)


def mnnbu(x: torch.Tensor, count: int) -> torch.Tensor:
    """ISTA unrolled for S, and a last layer whose weights are A; loss: the misfit of the data."""
    x, size = scaled(x)
    start = vertex_components(x, count)
    step = 1 / torch.linalg.matrix_norm(start, 2).square()
    a = nn.Parameter(start.clone())
    pull = nn.Parameter((step * start.mT).repeat(LAYERS, 1, 1))
    memory = nn.Parameter((torch.eye(count) - step * start.mT @ start).repeat(LAYERS, 1, 1))
    limit = nn.Parameter(torch.full((LAYERS,), 1e-3))
    first = constrained(x, start)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        s = first[:, batch]
        for k in range(LAYERS):
            s = torch.relu(memory[k] @ s + pull[k] @ x[:, batch] - limit[k])
        return (x[:, batch] - a.clamp(min=0) @ to_one(s)).square().sum(0).mean()

    def rate(epoch: int) -> float:
        return 0.002 / 1.2 ** (max(epoch - 50, 0) // 50)

    fit([a, pull, memory, limit], loss, x.shape[1], epochs=500, rate=rate)
    return a.detach().clamp(min=0) * size


def snmf_net(x: torch.Tensor, count: int) -> torch.Tensor:
    """Sparse NMF unrolled in S and A; loss: eq. 5, the misfit of every layer."""
    x, size = scaled(x)
    start = vertex_components(x, count)
    first = constrained(x, start)
    s_step = nn.Parameter((-torch.linalg.matrix_norm(start, 2).square().log()).repeat(LAYERS))
    a_step = nn.Parameter((-torch.linalg.matrix_norm(first, 2).square().log()).repeat(LAYERS))
    limit = nn.Parameter(torch.full((LAYERS,), 1e-3))
    share = x.shape[1]

    def layers(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        part, s, a, total = x[:, batch], first[:, batch], start, x.new_zeros(())
        for k in range(LAYERS):
            s = to_one(torch.relu(s - s_step[k].exp() * a.mT @ (a @ s - part) - limit[k]))
            gradient = (a @ s - part) @ s.mT * (share / part.shape[1])
            a = torch.relu(a - a_step[k].exp() * gradient)
            total = total + 0.5 * (part - a @ s).square().sum(0).mean()
        return total, a

    fit([s_step, a_step, limit], lambda b: layers(b)[0], share, epochs=200, rate=lambda _: 1e-3)
    with torch.no_grad():
        return layers(torch.arange(share))[1] * size


def dnmf(x: torch.Tensor, count: int) -> torch.Tensor:
    """Multiplicative updates unrolled for S; loss: misfit and l1 and l2 penalties; A by NNLS."""
    x, size = scaled(x)
    pull = nn.Parameter(torch.ones(LAYERS, count, len(x)) / len(x))
    memory = nn.Parameter(torch.ones(LAYERS, count, count) / count)
    # All sources alike is a stationary point; ones times random numbers leave it.
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        pull.mul_(2 * torch.rand(pull.shape, generator=draw))

    def sources(part: torch.Tensor) -> torch.Tensor:
        s = torch.ones(count, part.shape[1])
        for k in range(LAYERS):
            above, below = pull[k].clamp(min=0) @ part.clamp(min=0), memory[k].clamp(min=0) @ s
            s = s * above / (below + 1e-2 + 1e-6)
        return s

    a = nn.Parameter(torch.ones(len(x), count) / len(x) ** 0.5)
    with torch.no_grad():
        a.mul_(2 * torch.rand(a.shape, generator=draw))

    def loss(batch: torch.Tensor) -> torch.Tensor:
        s = sources(x[:, batch])
        misfit = (x[:, batch] - a.clamp(min=0) @ s).square().sum(0).mean()
        return misfit + 1e-3 * s.abs().sum(0).mean() + 1e-3 * s.square().sum(0).mean()

    fit([pull, memory, a], loss, x.shape[1], epochs=1500, rate=lambda _: 8e-4)
    with torch.no_grad():
        s = sources(x)
    return nonnegative_sources(x.mT, s.mT).mT * size


def scaled(x: torch.Tensor) -> tuple[torch.Tensor, float]:
    """A sample of the pixels, float32, with a root mean square length of 1."""
    chosen = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(0))[:SAMPLE]
    size = float(x.square().sum(0).mean().sqrt())
    return (x[:, chosen] / size).float(), size


def fit(
    parameters: list[nn.Parameter],
    loss: Callable[[torch.Tensor], torch.Tensor],
    pixels: int,
    *,
    epochs: int,
    rate: Callable[[int], float],
) -> None:
    """Adam over batches of a fifth of the pixels."""
    optimizer = torch.optim.Adam(parameters)
    draw = torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = rate(epoch)
        for batch in torch.randperm(pixels, generator=draw).chunk(5):
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()


PEERS = {"MNNBU": mnnbu, "SNMF-net": snmf_net, "DNMF": dnmf}
