"""Algorithms on labelled arrays: images, mixtures, memory that runs out, threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.denoising import pcp
from arpes_ml_plugins.errors import AxisError, DeviceWarning, OutOfMemoryError
from arpes_ml_plugins.labelled.apply import Image, Trace, map_images, map_mixture
from arpes_ml_plugins.labelled.devices import run_in_batches
from arpes_ml_plugins.testing.samples import sample_cut

ACCELERATOR = "cpu:0"  # a name under which the CPU passes for an accelerator
CPU_ERRORS = [
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 8000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you "
        "tried to allocate 8000000000 bytes."
    ),
    MemoryError(),
    torch.OutOfMemoryError("too much"),
]


class TestMemory:
    def test_batches_are_halved(self):
        sizes = []

        def run(items, device):
            size = items.stop - items.start
            sizes.append(size)
            if size > 2:
                raise torch.OutOfMemoryError("too much")
            return size

        assert sum(run_in_batches(9, run, device="cuda", batch_size=8)) == 9
        assert sizes[:3] == [8, 4, 2]

    def test_then_the_cpu_with_a_warning(self):
        def run(items, device):
            if device != "cpu":
                raise torch.OutOfMemoryError("too much")
            return device

        with pytest.warns(DeviceWarning, match="done on the CPU"):
            assert run_in_batches(3, run, device="cuda", batch_size=4) == ["cpu"] * 3

    @pytest.mark.parametrize("error", CPU_ERRORS, ids=lambda error: type(error).__name__)
    def test_the_cpu_halves_its_batches_too(self, error):
        sizes = []

        def run(items, device):
            size = items.stop - items.start
            sizes.append(size)
            if size > 3:
                raise error
            return size

        assert sum(run_in_batches(9, run, device="cpu", batch_size=9)) == 9
        assert sizes == [9, 5, 3, 3, 3]

    @pytest.mark.parametrize("error", CPU_ERRORS, ids=lambda error: type(error).__name__)
    def test_no_way_out_on_the_cpu(self, error):
        def run(items, device):
            raise error

        with pytest.raises(OutOfMemoryError, match=r"one image.*coarsen") as caught:
            run_in_batches(3, run, device="cpu", batch_size=2)
        assert isinstance(caught.value, MemoryError)

    def test_other_errors_are_not_taken_for_a_lack_of_memory(self):
        def run(items, device):
            raise RuntimeError("shapes differ")

        with pytest.raises(RuntimeError, match="shapes differ"):
            run_in_batches(3, run, device="cpu", batch_size=2)

    def test_a_method_with_smaller_batches_gives_the_same(self, monkeypatch):
        data = sample_cut(batch=5)
        expected = arpes_ml_plugins.decompose_pcp(data, device="cpu")
        solve, sizes = pcp.principal_component_pursuit, []

        def short_of_memory(images, **options):
            sizes.append(len(images))
            if len(images) > 2:
                raise CPU_ERRORS[0]
            return solve(images, **options)

        monkeypatch.setattr(pcp, "principal_component_pursuit", short_of_memory)
        # The last bit of a norm depends on the size of the batch where several threads sum it up.
        xr.testing.assert_allclose(
            arpes_ml_plugins.decompose_pcp(data, device="cpu"), expected, rtol=1e-9, atol=1e-12
        )
        assert sizes == [5, 3, 2, 2, 1]

    def test_steps_of_a_failed_batch_are_taken_back(self):
        data, told = sample_cut(batch=3), []

        def algorithm(batch):
            for _ in range(4):
                batch.report(len(batch.images), None)
            if len(batch.images) > 1:
                raise torch.OutOfMemoryError("too much")
            return {"clean": batch.images}

        result = map_images(
            data,
            ("eV", "phi"),
            algorithm,
            {"clean": Image()},
            method="test",
            device=ACCELERATOR,
            steps=4,
            progress=told.append,
            batch_size=3,
        )
        assert (result["clean"].values == data.values).all()
        assert told[-1].done == told[-1].total == 12

    def test_a_mixture_too_large_for_the_device_goes_to_the_cpu(self, mixture):
        told = []

        def algorithm(cube):
            cube.report(2, None)
            if len(told) == 1:
                raise torch.OutOfMemoryError("too much")
            return {"reconstruction": cube.values}

        with pytest.warns(DeviceWarning, match="done on the CPU"):
            result = map_mixture(
                mixture,
                ("eV",),
                algorithm,
                {"reconstruction": "data"},
                components=[1],
                method="test",
                device=ACCELERATOR,
                steps=2,
                progress=told.append,
            )
        xr.testing.assert_allclose(result["reconstruction"], mixture)
        assert [one.done for one in told] == [2, 0, 2]


@pytest.fixture
def mixture():
    """Spectra of 5 channels on 3 x 4 pixels, energy in the middle, one value missing."""
    values = np.arange(60.0).reshape(3, 5, 4)
    values[1, 2, 3] = np.nan
    coords = {"eV": np.arange(5.0), "x": np.arange(4.0), "height": ("y", [1.0, 2.0, 3.0])}
    return xr.DataArray(values, coords, ("y", "eV", "x"), attrs={"note": "kept elsewhere"})


def outputs_of(cube):
    """Something of each kind, known in closed form."""
    spectra = torch.stack([cube.values[:, 0, 0], cube.values[:, -1, -1]])
    return {
        "spectra": spectra,
        "maps": cube.values[:2],
        "copy": cube.values,
        "mean": cube.values.mean(0),
        "largest": spectra.amax(1),
        "count": 7,
        "words": "as it should be",
    }


KINDS = {
    "spectra": "spectra",
    "maps": "maps",
    "copy": "data",
    "mean": "space",
    "largest": "component",
    "count": "number",
    "words": "text",
}


class TestMixture:
    def run(self, data, algorithm=outputs_of, outputs=KINDS, **options):
        given = {"components": ["a", "b"], "method": "test", "device": "cpu", "steps": 1}
        return map_mixture(data, ("eV",), algorithm, outputs, **given | options)

    @pytest.mark.parametrize("lazy", [False, True])
    def test_every_kind_of_output_finds_its_axes(self, mixture, lazy):
        data = mixture.chunk({"eV": 2, "x": 1}) if lazy else mixture
        result = self.run(data)
        assert (result["copy"].chunks is not None) == lazy
        result = result.compute()
        assert result["spectra"].dims == ("component", "eV")
        assert result["maps"].dims == ("component", "y", "x")
        assert result["copy"].dims == mixture.dims
        assert result["mean"].dims == ("y", "x")
        assert result["component"].values.tolist() == ["a", "b"]
        assert (result["spectra"].sel(component="a") == mixture.isel(y=0, x=0)).all()
        expected = mixture.isel(eV=slice(2)).rename(eV="component").transpose(*result.maps.dims)
        assert (result["maps"].values == expected.values).all()
        assert result["copy"].equals(mixture)
        assert result["maps"]["height"].identical(mixture["height"])
        assert "height" not in result["spectra"].coords
        assert result["largest"].values.tolist() == [16.0, 59.0]
        assert result["count"].item() == 7
        assert result["words"].item() == "as it should be"

    def test_missing_values_arrive_filled_and_masked(self, mixture):
        seen = []
        self.run(mixture, lambda cube: seen.append(cube) or outputs_of(cube))
        assert seen[0].values.shape == (5, 3, 4)
        assert bool(seen[0].values.isfinite().all())
        assert (~seen[0].valid).nonzero().tolist() == [[2, 1, 3]]

    def test_names_of_results_are_reserved(self, mixture):
        for name in ("component", "maps"):
            with pytest.raises(AxisError, match=f"'own_{name}'"):
                self.run(mixture.rename(y=name))

    def test_several_channels_are_flattened_in_the_order_given(self, mixture):
        def algorithm(cube):
            assert cube.values.shape == (20, 3)
            return {"spectra": cube.values[:, :1].mT}

        result = map_mixture(
            mixture,
            ("x", "eV"),
            algorithm,
            {"spectra": "spectra"},
            components=[1],
            method="test",
            device="cpu",
            steps=1,
        )
        assert result["spectra"].dims == ("component", "x", "eV")
        assert (result["spectra"][0] == mixture.isel(y=0).transpose("x", "eV")).all()


class TestThreads:
    def test_what_a_block_sets_in_torch_stays_in_its_thread(self, cut):
        inside, checked, modes = threading.Event(), threading.Event(), []

        def algorithm(batch):
            inside.set()
            assert checked.wait(20)
            modes.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
            return {"clean": batch.images}

        def call():
            options = {"method": "test", "device": "cpu"}
            map_images(cut, ("eV", "phi"), algorithm, {"clean": Image()}, **options)

        with torch.inference_mode(), torch.device("meta"):
            thread = threading.Thread(target=call)
            thread.start()
            assert inside.wait(20)
            here = torch.is_inference_mode_enabled(), torch.empty(1).device.type
            checked.set()
            thread.join(20)
        assert here == (True, "meta")
        assert modes == [(False, True)]

    def test_the_callers_modes_do_not_reach_the_algorithm(self, cut):
        def algorithm(batch):
            assert not torch.is_inference_mode_enabled()
            assert torch.is_grad_enabled()
            assert torch.empty(1).device.type == "cpu"
            return {"clean": batch.images}

        with torch.inference_mode(), torch.device("meta"):
            result = map_images(
                cut, ("eV", "phi"), algorithm, {"clean": Image()}, method="test", device="cpu"
            )
            assert torch.is_inference_mode_enabled()
            assert torch.empty(1).device.type == "meta"
        assert (result["clean"] == cut).all()


def test_the_dimension_of_a_trace_is_reserved_too(cut):
    options = {"method": "test", "device": "cpu"}
    with pytest.raises(AxisError, match="'own_channel'"):
        map_images(cut, ("eV", "phi"), dict, {"loss": Trace("channel", 3)}, **options)


def test_results_come_in_native_byte_order(cut):
    options = {"method": "test", "device": "cpu"}
    big = cut.astype(">f8")
    found = map_images(
        big, ("eV", "phi"), lambda b: {"clean": b.images}, {"clean": Image()}, **options
    )
    assert found["clean"].dtype == np.float64
    assert found["clean"].dtype.isnative
