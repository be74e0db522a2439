"""Whether the network could run without torch: its convolutions in numpy, beside torch.

    python benchmarks/without_torch.py        half a minute, on one thread

One image of 240 x 240 pixels, the stored weights. The numpy network has the convolutions and what
lies between them; its input comes from the package, whose features, noise estimate and recovery are
written in torch as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scenes import kink_rate
from tables import write

import arpes_ml_plugins
from arpes_ml_plugins.denoising import counts_network
from arpes_ml_plugins.methods.stored_network import pretrained

Array = NDArray[np.float32]
REPEATS = 5


def convolution(x: Array, layer: torch.nn.Conv2d) -> Array:
    """``(channels, height, width)``: shifted copies of all channels, and one matrix product."""
    weight, side = layer.weight.detach().numpy(), layer.kernel_size[0]
    channels, height, width = x.shape
    if side == 2:  # with a stride of two
        x = x.reshape(channels, height // 2, 2, width // 2, 2).transpose(0, 2, 4, 1, 3)
        height, width = height // 2, width // 2
    elif side == 3:
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        x = np.stack(
            [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], 1
        )
    product = weight.reshape(len(weight), -1) @ x.reshape(-1, height * width)
    return product.reshape(-1, height, width) + layer.bias.detach().numpy()[:, None, None]


def leaky(x: Array) -> Array:
    return np.maximum(x, 0.1 * x)


def block(x: Array, layer: torch.nn.Module) -> Array:
    return x + convolution(leaky(convolution(leaky(x), layer.first)), layer.second)


def blocks(x: Array, layers: torch.nn.Sequential) -> Array:
    for layer in layers:
        x = block(x, layer)
    return x


def twice(x: Array) -> Array:
    return x.repeat(2, axis=1).repeat(2, axis=2)


def body(x: Array, network: torch.nn.Module) -> Array:
    """The first part of the network, from its features at half the resolution."""
    x = convolution(x, network.enter)
    skips = []
    for layer, down in zip(network.before, network.down, strict=True):
        x = block(x, layer)
        skips.append(x)
        x = convolution(x, down)
    x = blocks(x, network.bottom)
    for layers, up, skip in zip(
        reversed(network.after), reversed(network.up), reversed(skips), strict=True
    ):
        x = blocks(twice(convolution(x, up)) + skip, layers)
    return x


def fastest(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return min(seconds)


def lines(words: str) -> int:
    """Lines of the files of the package that import torch, where ``denoise`` needs them."""
    package = Path(arpes_ml_plugins.__file__).parent
    files = [path.read_text() for path in (package / "denoising").glob("*.py")]
    return sum(len(text.splitlines()) for text in files if words in text)


def main() -> None:
    torch.set_num_threads(1)
    network = pretrained(0).eval()
    network.arranged(torch.device("cpu"), to_train=False)
    counts = torch.poisson(torch.from_numpy(kink_rate(10.0))[None]).float()
    features, _ = counts_network._features(counts, None, None)
    half = torch.nn.functional.pixel_unshuffle(counts_network._padded(features), 2)
    with torch.no_grad():
        expected = network._body(half)[0].numpy()
        own = body(half[0].numpy(), network)
        np.testing.assert_allclose(own, expected, atol=1e-3 * np.abs(expected).max())
        ours = fastest(lambda: body(half[0].numpy(), network))
        theirs = fastest(lambda: network._body(half))
    row = {
        "numpy, CPU s": f"{ours:.2f}",
        "torch, CPU s": f"{theirs:.2f}",
        "ratio": f"{ours / theirs:.1f}",
    }
    row["lines of denoising that use torch"] = str(lines("import torch"))
    write("without_torch.csv", [row])


if __name__ == "__main__":
    main()
