"""Common part of the methods for counts: from checked parameters to denoised images."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import xarray as xr

from arpes_ml_plugins.errors import CountsWarning, DataError
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.apply import Image, ImageBatch, Output, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption, Stage, stages
from arpes_ml_plugins.labelled.series import choose_series
from arpes_ml_plugins.methods.calibration_run import (
    CALIBRATION,
    calibration_numbers,
    say_how_calibrated,
)
from arpes_ml_plugins.methods.chunks_run import (
    choices_in,
    network_of,
    sampled_images,
    steps_before,
    together_or_in_chunks,
)
from arpes_ml_plugins.methods.counts_like import counts_like
from arpes_ml_plugins.methods.denoising_input import (
    COUNTED,
    PRECISIONS,
    SERVED,
    SMALLEST_IMAGE,
    noise_numbers,
    noise_of,
    rounded,
)
from arpes_ml_plugins.methods.mesh_run import MESH, without_mesh
from arpes_ml_plugins.methods.recorded_run import recorded
from arpes_ml_plugins.methods.repeats_run import check_drift, repeated_dim
from arpes_ml_plugins.methods.residual_run import (
    OUTPUTS,
    residual_numbers,
    say_what_is_left,
    spot_numbers,
)
from arpes_ml_plugins.methods.series_run import mean_along_each, several
from arpes_ml_plugins.methods.stored_network import pretrained, weights_used
from arpes_ml_plugins.parameters import (
    check_choice,
    check_count,
    check_flag,
    check_image,
    check_positive,
)

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.adapting import Training
    from arpes_ml_plugins.denoising.counts_network import CountsNetwork

__all__ = [
    "CountsRun",
    "adapting",
    "from_scratch",
    "run_pretrained",
]

WORTH_A_WARNING = 0.3  # relative error of a gain whose reason is an uncertain pedestal
BAR_DRAWS = 8
"""Number of simulated measurements from which error bars are estimated."""


@dataclass(frozen=True)
class CountsRun:
    """One of the methods for counts: its network, training and kind of result."""

    method: str
    make: Callable[[int], CountsNetwork]
    """Function from a seed to the network before training."""
    training: Training | None
    kinds: tuple[str, ...]
    """Kinds of noise that the method is valid for."""
    draws: int = 0
    """Number of simulated measurements of the clean image."""
    sampled: bool = False
    """Whether to return samples instead of the clean image and its error bars."""
    calibrated: bool = False
    """Whether to test the errors on held-out data."""
    once: bool = False
    """Whether a network is trained once for all series, on a sample of them."""

    def __call__(
        self,
        data: xr.DataArray | xr.Dataset,
        *,
        dims: Any,
        gain: float | None,
        device: str,
        rng: Any,
        progress: ProgressOption,
        series: Hashable | Sequence[Hashable] | None = "auto",
        precision: str = "auto",
        repeats: Hashable | None = None,
        mesh: str | None = None,
        noise: xr.Dataset | None = None,
    ) -> dict[str, xr.DataArray]:
        """Run the method with its parameters; ``noise`` is its noise estimate, if known already."""
        array, image = check_image(data, dims, SMALLEST_IMAGE)
        check_positive("gain", gain, optional=True)
        check_choice("precision", precision, PRECISIONS)
        check_choice("mesh", mesh, MESH)
        repeated = repeated_dim(array, image, repeats)
        in_turn = several(series)
        if in_turn is not None:
            return mean_along_each(
                self,
                array,
                image,
                in_turn,
                gain=gain,
                device=device,
                repeats=repeated,
                mesh=mesh,
                noise=noise,
                rng=rng,
                progress=progress,
                precision=precision,
            )
        exposures = [] if repeated is None else [repeated]
        together = choose_series(array, (*exposures, *image), series)  # type: ignore[arg-type]
        noise = noise_of(array, image, device, repeats=repeated) if noise is None else noise
        found: dict[str, Any] = {"series": [str(dim) for dim in together]}
        if repeated is not None:
            found["averaged"] = [str(repeated)]
        array, noise, meshed = without_mesh(
            array, image, noise, mesh, gain=gain, device=device, repeats=repeated
        )
        if array.chunks is None:
            _check_counts(self.method, noise, gain, self.kinds)
            found |= {"noise": str(noise["verdict"].values)} | _strength(noise, gain)
            if repeated is not None:
                found["repeats"] = check_drift(noise, repeated, array.sizes[repeated])
        found |= meshed
        if self.make is pretrained:
            found |= weights_used()
        if self.training is not None and self._once(together, exposures):
            sample = sampled_images(array, image, together[0], self.training)
            found["trained_on"] = [int(number) for number in sample.values.ravel()]
        total, each = self._steps(array, image, together, exposures)
        listening = progress if array.chunks is None else False
        with stages(listening, self.method, total) as stage:
            arrays = self._run(
                array,
                image,
                together,
                exposures,
                noise_numbers(noise, self.kinds),
                gain=gain,
                precision=precision,
                device=device,
                seed=rng,
                steps=each,
                stage=stage,
            )
        if self._judged(array):
            kind = str(noise["kind"].values) if gain is None else "counts"
            found |= say_what_is_left(arrays, kind=kind)
        if self.calibrated:
            said = {name: arrays.pop(name) for name in CALIBRATION}
            found |= say_how_calibrated(said) if array.chunks is None else {}
        for result in arrays.values():
            result.attrs["found"] = found
        return arrays

    def _once(self, together: tuple[Hashable, ...], exposures: list[Hashable]) -> bool:
        """Whether choices and training are those of all series, and not of each by itself."""
        return self.once and bool(together) and not exposures

    def _judged(self, array: xr.DataArray) -> bool:
        """Whether to test the residual."""
        return array.chunks is None

    def _run(
        self,
        array: xr.DataArray,
        image: tuple[Hashable, Hashable],
        together: tuple[Hashable, ...],
        exposures: list[Hashable],
        numbers: dict[str, xr.DataArray],
        *,
        gain: float | None,
        precision: str,
        device: str,
        seed: int,
        steps: int,
        stage: Stage,
    ) -> dict[str, xr.DataArray]:
        algorithm = partial(
            _denoise,
            make=self.make,
            training=self.training,
            gain=gain,
            draws=self.draws,
            sampled=self.sampled,
            precision=precision,
            series=bool(together),
            exposures=math.prod(array.sizes[dim] for dim in exposures),
            judged=self._judged(array),
            calibrate=self.calibrated,
        )
        layout = together_or_in_chunks(
            array,
            image,
            together,
            exposures,
            numbers,
            self.make,
            self.training,
            once=self.once,
            alone=not self.draws,
            gain=gain,
            precision=precision,
            method=self.method,
            device=device,
            seed=seed,
            progress=stage,
        )
        averaged = (*exposures,)
        outputs: dict[str, Output] = {name: Image(averaged=averaged) for name in self.results}
        outputs |= OUTPUTS if self._judged(array) else {}
        outputs |= CALIBRATION if self.calibrated else {}
        return map_images(
            array,
            image,
            algorithm,
            outputs,
            method=self.method,
            device=device,
            seed=seed,
            steps=steps,
            progress=stage,
            batch_size=1,
            **layout,
        )

    def _steps(
        self,
        array: xr.DataArray,
        image: tuple[Hashable, Hashable],
        together: tuple[Hashable, ...],
        exposures: list[Hashable],
    ) -> tuple[int, int]:
        """Number of all progress steps, and of those for each image or series."""
        from arpes_ml_plugins.denoising.plan import steps_of

        images, pixels = (math.prod(array.sizes[dim] for dim in dims) for dims in (together, image))
        items = array.size // (images * pixels * math.prod(array.sizes[dim] for dim in exposures))
        chosen = self._once(together, exposures)
        each = steps_of(
            self.training,
            images,
            pixels,
            series=bool(together),
            draws=self.draws,
            calibrate=self.calibrated,
            chosen=chosen,
        )
        each += images * self._judged(array)  # their residuals
        before = steps_before(array, image, together[0], self.training) if chosen else 0
        return before + items * each, each

    def dataset(self, data: xr.DataArray | xr.Dataset, **parameters: Any) -> xr.Dataset:
        """Run the method and return all results as one Dataset."""
        arrays = self(data, **parameters)
        return xr.Dataset(arrays, attrs=arrays["clean"].attrs)

    def with_errors(self, calibrate: bool) -> CountsRun:
        """The same method with error bars."""
        check_flag("calibrate", calibrate)
        return replace(self, draws=BAR_DRAWS, calibrated=calibrate)

    def sampling(self, draws: int, calibrate: bool) -> CountsRun:
        """The same method with samples instead of the clean image."""
        check_flag("calibrate", calibrate)
        return replace(self, draws=draws, sampled=True, calibrated=calibrate)

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the results."""
        if self.sampled:
            return _samples_of(self.draws)
        return ("clean", "lower", "upper") if self.draws else ("clean",)


def _samples_of(draws: int) -> tuple[str, ...]:
    """Names of the samples among the results."""
    return tuple(f"sample {number}" for number in range(draws))


def from_scratch(method: str, iterations: int | None) -> CountsRun:
    """A method whose network is trained on the data alone."""
    from arpes_ml_plugins.denoising.counts_denoiser import SCRATCH, new_network

    check_count("iterations", iterations, optional=True)
    training = replace(SCRATCH, steps=int(iterations or SCRATCH.steps))
    return CountsRun(method, new_network, training, COUNTED)


def adapting(method: str, adapt: bool) -> CountsRun:
    """A method whose network is the stored one, trained further on the data if ``adapt``."""
    check_flag("adapt", adapt)
    return CountsRun(method, pretrained, _adapted(adapt), SERVED, once=True)


def _adapted(adapt: bool) -> Training | None:
    from arpes_ml_plugins.denoising.counts_denoiser import ADAPTED

    return ADAPTED if adapt else None


def _strength(noise: xr.Dataset, gain: float | None) -> dict[str, float]:
    """What provenance records of how strong the noise is."""
    if gain is None and noise["kind"] == "local":
        return {"deviation": float(noise["deviation"])}
    return {"gain": gain or float(noise["gain"])}


def _check_counts(
    method: str, noise: xr.Dataset, gain: float | None, kinds: tuple[str, ...]
) -> None:
    """Refuse data that are not counts; if the user overrides this with a gain, only warn."""
    kind, verdict = str(noise["kind"].values), str(noise["verdict"].values)
    if gain is None and kind not in kinds:
        raise DataError(
            f"{method} needs counts. {verdict} Use denoise, which chooses a method for such data, "
            f"or override this check with gain= (variance over mean)"
        )
    far_off = float(noise["gain_error"]) > WORTH_A_WARNING * float(noise["gain"])
    unsure = str(noise["status"].values) != "ok" and (kind == "offset" or far_off)
    too_flat = float(noise["curvature"]) < 0  # bright bands, as at a detector that saturates
    if gain is None and (unsure or too_flat):
        warn(f"{method}: {verdict}", CountsWarning)
    if gain is None or kind == "unknown":
        return
    measured, error = float(noise["gain"]), float(noise["gain_error"])
    if kind not in kinds or kind == "local":
        warn(
            f"{method} was called with gain={gain:g} for data that are not counts. {verdict}",
            CountsWarning,
        )
    elif abs(measured - gain) > max(5 * error, 0.2 * gain):
        warn(
            f"{method} was called with gain={gain:g}, but the noise has a gain of {measured:.3g} "
            f"± {error:.1g}; leave gain= out to use the measured one",
            CountsWarning,
        )


def run_pretrained(
    batch: ImageBatch, *, adapt: bool, series: bool, exposures: int
) -> dict[str, torch.Tensor]:
    """Denoise as :func:`denoise_pretrained` does, with the noise in ``batch.numbers``."""
    return _denoise(
        batch,
        make=pretrained,
        training=_adapted(adapt),
        gain=None,
        draws=0,
        sampled=False,
        precision="auto",
        series=series,
        exposures=exposures,
    )


def _denoise(batch: ImageBatch, **options: Any) -> dict[str, torch.Tensor]:
    """Denoise what was recorded, and return results for the data."""
    measured = recorded(batch, options["gain"])
    return measured.results(_denoise_recorded(measured.batch, **options))


def _denoise_recorded(
    batch: ImageBatch,
    *,
    make: Callable[[int], CountsNetwork],
    training: Training | None,
    gain: float | None,
    draws: int,
    sampled: bool,
    precision: str,
    series: bool,
    exposures: int = 1,
    judged: bool = False,
    calibrate: bool = False,
) -> dict[str, torch.Tensor]:
    import torch

    from arpes_ml_plugins.denoising.counts_denoiser import denoise_counts_images
    from arpes_ml_plugins.denoising.defects import like_spots
    from arpes_ml_plugins.denoising.residual import excess_of

    numbers = batch.numbers
    if gain is None and not numbers["served"]:  # eager data were refused before
        raise DataError(
            "the noise is not that of counts, see estimate_noise; use denoise, which chooses a "
            "method for such data, or override this check with gain= (variance over mean)"
        )
    images = batch.images.unflatten(0, (-1, exposures))
    total, valid = images.sum(1), batch.valid.unflatten(0, (-1, exposures)).all(1)
    like = counts_like(batch, total, valid, gain, exposures)
    own = None if batch.own is None else torch.from_numpy(batch.own).to(total.device)
    result = denoise_counts_images(
        like.images,
        valid,
        like.noise,
        network_of(batch, make),
        training if like.split else None,
        series=series,
        seed=batch.seeds[0],
        draws=draws,
        sampled=sampled,
        bfloat16=rounded(precision, batch.images.device.type),
        report=batch.report,
        exposures=like.parts(images, total) if exposures > 1 else None,
        choices=choices_in(numbers),
        untouched=make(batch.seeds[0]) if calibrate else None,
        own=own,
        brightness=like.brightness,
        local=like.pedestal is not None,
    )
    found = calibration_numbers(result) if calibrate else {}
    like = like.only(own)
    if judged:
        data = (total if own is None else total[own]) / exposures
        excess = excess_of(data, like.as_data(result.clean), result.used)
        found |= residual_numbers(result, excess)
        chosen = slice(None) if own is None else own
        counts = like.noise.electrons(like.images)
        spots = like_spots(counts, valid[chosen], result.used)
        found |= spot_numbers(counts, spots)
    if result.samples is not None:
        generator = torch.Generator(device="cpu").manual_seed(batch.seeds[0])
        samples = like.restored(like.as_samples(result.samples, generator))
        return found | dict(zip(_samples_of(draws), samples, strict=True))
    clean = like.as_data(result.clean)
    found["clean"] = like.restored(clean)
    if result.spread is None:
        return found
    spread = like.spread_of_data(result.spread, result.clean)
    lowest = like.lowest(numbers["shift"])
    return found | {
        "lower": like.restored(torch.maximum(clean - spread, torch.as_tensor(lowest).to(clean))),
        "upper": like.restored(clean + spread),
    }
