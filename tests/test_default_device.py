"""Tensors are made on the device of the data, or on a named one: found without any GPU.

Algorithms are run with "meta", a device without memory, as torch's default. A tensor that is made
without naming its device is then unusable, as it would be among data on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import test_conformance
import torch

from arpes_ml_plugins.labelled import apply
from arpes_ml_plugins.testing import ConformanceSuite

SUITES = [
    suite
    for suite in vars(test_conformance).values()
    if isinstance(suite, type) and issubclass(suite, ConformanceSuite)
    if suite is not ConformanceSuite
]


@contextmanager
def without_own_device() -> Iterator[None]:
    """What :func:`plain_torch` does, but for the device that it sets."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@pytest.mark.filterwarnings("ignore")  # of results, which are not looked at
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_no_tensor_is_left_to_the_default_device(suite, monkeypatch):
    monkeypatch.setattr(apply, "plain_torch", without_own_device)
    case = suite()
    data = case.sample()
    with torch.device("meta"):
        result = case.run(data)
    assert result is not None


def test_this_would_be_noticed():
    with torch.device("meta"), pytest.raises((RuntimeError, NotImplementedError)):
        (torch.zeros(3) + torch.ones(3, device="cpu")).numpy()
