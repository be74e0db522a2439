"""The cache of trained networks: what is damaged, wrong or unreadable is trained again."""

from __future__ import annotations

import threading

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from safetensors.torch import load_file, save_file

from arpes_ml_plugins.networks.cache import kept_network


class Trained:
    """A network that costs nothing to train, and how often it was."""

    def __init__(self, folder, size=4):
        self.folder, self.size, self.times, self.told = folder, size, 0, []

    def empty(self):
        return torch.nn.utils.skip_init(torch.nn.Linear, self.size, 3)

    def train(self):
        self.times += 1
        network = self.empty()
        with torch.no_grad():
            network.weight.copy_(torch.arange(3.0 * self.size).reshape(3, self.size) + 1)
            network.bias.fill_(7)
        return network

    def __call__(self):
        return kept_network(
            self.folder, "name", self.empty, self.train, lambda *a: self.told.append(a), 9
        )

    def right(self, network):
        expected = self.train()
        self.times -= 1
        pairs = zip(network.parameters(), expected.parameters(), strict=True)
        return all(torch.equal(one, other) for one, other in pairs)


@pytest.fixture
def trained(tmp_path):
    return Trained(tmp_path / "networks")


def test_trained_once(trained):
    assert trained.right(trained())
    assert trained.told == []
    again = trained()
    assert trained.right(again)
    assert not any(value.requires_grad for value in again.parameters())
    assert (trained.times, trained.told) == (1, [(9, None)])


@pytest.mark.fuzz
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(tmp_path_factory, place, bit):
    trained = Trained(tmp_path_factory.mktemp("networks"))
    trained()
    (file,) = trained.folder.iterdir()
    good = file.read_bytes()
    bad = bytearray(good)
    bad[int(place * len(bad))] ^= 1 << bit
    file.write_bytes(bad)
    assert trained.right(trained())
    trained()
    assert trained.times in (1, 2)  # 1: a bit of the header without a meaning, a space
    assert trained.times == 1 or file.read_bytes() == good


def change_names(tensors):
    return {f"other {key}": value for key, value in tensors.items()}


def change_shapes(tensors):
    return {key: value[..., :2].contiguous() for key, value in tensors.items()}


def change_types(tensors):
    return {key: value.double() for key, value in tensors.items()}


@pytest.mark.parametrize("change", [change_names, change_shapes, change_types, dict])
def test_tensors_of_somebody_else(trained, change):
    trained()
    (file,) = trained.folder.iterdir()
    save_file(change(load_file(file)), file)
    assert trained.right(trained())
    assert trained.times == 2


def test_the_network_of_another_size_under_this_name(tmp_path):
    Trained(tmp_path, size=5)()
    trained = Trained(tmp_path)
    assert trained.right(trained())
    assert trained.times == 1


@pytest.mark.parametrize("kind", ["file", "folder in its place"])
def test_folders_that_cannot_be_used(tmp_path, kind):
    trained = Trained(tmp_path / "networks")
    if kind == "file":
        trained.folder.touch()
    else:
        (trained.folder / "name.safetensors").mkdir(parents=True)
    for _ in range(2):
        with pytest.warns(UserWarning, match="trained again next time"):
            assert trained.right(trained())
    assert trained.times == 2
    left = [path.name for path in tmp_path.rglob("*.part")]
    assert left == []


def test_nothing_is_kept_without_a_folder():
    trained = Trained(None)
    assert trained.right(trained())
    assert trained.right(trained())
    assert trained.times == 2


def test_writers_at_the_same_time(tmp_path):
    everyone = [Trained(tmp_path) for _ in range(8)]
    found = []
    threads = [threading.Thread(target=lambda t=t: found.append(t.right(t()))) for t in everyone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8
    assert [path.name for path in tmp_path.iterdir()] == ["name.safetensors"]
