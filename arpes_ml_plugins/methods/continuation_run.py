"""Run a solver over all slices, and label its results with statuses and warnings."""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, ConvergenceWarning, DataError, DistributionWarning
from arpes_ml_plugins.fitting import DRAW
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.apply import Image, ImageBatch, Output, Scalar, Trace, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.continuation_input import ImaginaryData
from arpes_ml_plugins.networks.rlista import continuation_network
from arpes_ml_plugins.networks.stored import stored_hash
from arpes_ml_plugins.parameters import check_count

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.problem import Problem
    from arpes_ml_plugins.continuation.solvers import Algorithm

__all__ = [
    "BATCH",
    "continued",
    "describe",
    "facts",
    "problem_on",
    "statuses_in_words",
    "warn_of_statuses",
]

BATCH = 500  # data sets at once
MATRICES = 50  # data sets at once that have a covariance each
UNRESOLVED = (
    "The data cannot show structure within this width. If there is any, the 90 % interval is one "
    "for the spectrum blurred by half of it (area over height of the blur)."
)


def continued(
    source: ImaginaryData,
    algorithm: Algorithm,
    method: str,
    device: str,
    progress: ProgressOption,
    *,
    draws: int = 0,
    seed: Any = None,
) -> xr.Dataset:
    """Labelled results of an algorithm for every slice."""
    check_count("draws", draws, least=0)
    name = source.omega.dims[0]
    if draws and DRAW in (*source.array.dims, *source.array.coords):
        raise AxisError(
            f"the data have a dimension or coordinate named {DRAW!r}, which is that of the draws; "
            f"rename it, for example data.rename({DRAW}='own_{DRAW}')"
        )
    along = Trace(str(name), len(source.omega), "float64", source.omega)
    outputs: dict[str, Output] = {
        "spectral_function": along,
        "lower": along,
        "upper": along,
        "resolution": along,
        "back_transform": Image(),
        "chi2": Scalar(),
        "out_of_distribution": Scalar("bool"),
        "status": Scalar("int64"),
        "sign": Scalar("int64"),
        "stderr": Image(),
    }
    if draws:
        outputs["draws"] = Trace(f"{DRAW} {name}", draws * len(source.omega), "float64")
    arrays = map_images(
        source.array,
        (source.dim,),
        partial(_run, source=source, algorithm=algorithm, draws=draws),
        outputs,
        method=method,
        # MPS has no float64, without which the small singular values are lost.
        device="cpu" if device.startswith("mps") else device,
        progress=progress,
        batch_size=MATRICES if source.common and _differ(source.errors) else BATCH,
        seed=seed or 0,
    )
    if draws:
        arrays["draws"] = _unfolded(arrays["draws"], arrays["spectral_function"], draws)
    codes = arrays["status"]
    result = xr.Dataset({**arrays, "status": statuses_in_words(codes)})
    result.attrs["found"] = facts(source)  # into the provenance
    describe(result, source)
    if codes.chunks is None:  # lazy results do not warn; their status reports it
        warn_of_statuses(codes.values, result["chi2"].values, method)
        if source.problem.convention is None:
            _warn_of_signs(result["sign"].values[codes.values > 0], method)
    return result


def _differ(errors: np.ndarray | None) -> bool:
    """Whether slices have different errors."""
    return errors is not None and bool((errors != errors[:1]).any())


def _unfolded(flat: xr.DataArray, like: xr.DataArray, draws: int) -> xr.DataArray:
    """``(..., draw, omega)`` from one dimension for both."""
    shape = (*flat.shape[:-1], draws, like.shape[-1])
    dims = [*like.dims[:-1], DRAW, like.dims[-1]]
    return xr.DataArray(flat.data.reshape(shape), dims=dims, coords=like.coords)


def _run(
    batch: ImageBatch, *, source: ImaginaryData, algorithm: Algorithm, draws: int
) -> dict[str, Any]:
    """Solve one batch of slices."""
    import torch

    from arpes_ml_plugins.continuation.answer import answer
    from arpes_ml_plugins.continuation.checked import Checked
    from arpes_ml_plugins.continuation.problem import merged
    from arpes_ml_plugins.continuation.self_energy import with_common_error

    if not bool(batch.valid.all()):  # of lazy data only: others are looked at before
        raise DataError("the data hold NaN, which this method does not handle; fill them")
    device = batch.images.device
    errors = covariance = None
    if source.errors is not None:
        own = torch.from_numpy(source.errors[batch.index]).to(device)
        if source.common:
            covariance = with_common_error(own, source.common)
        else:
            errors = own
    if source.covariance is not None:
        covariance = torch.from_numpy(source.covariance).to(device)
        if covariance.ndim == 3:
            covariance = covariance[torch.from_numpy(batch.index).to(device)]
    problem = problem_on(source, device)
    solver = Checked(
        continuation_network(str(device)),
        algorithm,
        source.norm,
        source.any_norm,
        source.moments,
        draws,
        source.parts,
        tuple(batch.seeds),
        source.windows,
    )
    answers = answer(problem, batch.images, errors, covariance, solver, batch.index)
    if batch.report:
        batch.report(len(batch.images), None)
    results = {name: getattr(answers, name) for name in answers.__dataclass_fields__}
    del results["used"]
    if not draws:
        del results["draws"]
    for name in ("spectral_function", "lower", "upper", "resolution"):
        named = results[name][..., slice(*(source.problem.named or (None,)))]
        results[name] = merged(named, source.parts)
    return results


def problem_on(source: ImaginaryData, device: torch.device) -> Problem:
    """The problem with all its tensors on a device."""
    problem = source.problem
    transform = None if problem.transform is None else problem.transform.to(device)
    times, omega = problem.times.to(device), problem.omega.to(device)
    return replace(problem, times=times, omega=omega, transform=transform)


def facts(source: ImaginaryData) -> dict[str, Any]:
    """What was found in the data, for the provenance."""
    found: dict[str, Any] = {
        "beta": source.problem.beta,
        "axis": source.problem.axis,
        "frequencies": [float(source.omega.values[0]), float(source.omega.values[-1])],
        "weights": {"continuation": stored_hash("continuation")},
    }
    if source.merged is not None:
        found["bins_merged"] = source.merged
    return found


def statuses_in_words(codes: xr.DataArray) -> xr.DataArray:
    """Statuses in words; those of lazy codes have the width of the longest."""
    from arpes_ml_plugins.continuation.answer import LONGEST, in_words

    width = "U" if codes.chunks is None else f"U{LONGEST}"

    def words(numbers: np.ndarray) -> np.ndarray:
        texts = [in_words(int(number)) for number in numbers.ravel()]
        return np.array(texts, dtype=width).reshape(numbers.shape)

    return xr.apply_ufunc(words, codes, dask="parallelized", output_dtypes=[np.dtype(width)])


def describe(result: xr.Dataset, source: ImaginaryData) -> None:
    """Add units and long names."""
    unit = source.omega.attrs.get("units")
    for name in ("spectral_function", "lower", "upper", "draws"):
        if name in result and unit and source.problem.statistics == "fermion":
            result[name].attrs["units"] = f"1/({unit})" if "/" in unit else f"1/{unit}"
    result["spectral_function"].attrs["long_name"] = "spectral function"
    if "draws" in result:
        result["draws"].attrs["long_name"] = "spectral functions drawn from the posterior"
    result["lower"].attrs["long_name"] = "lower end of the 90 % credible interval"
    result["upper"].attrs["long_name"] = "upper end of the 90 % credible interval"
    result["resolution"].attrs["long_name"] = "width of a delta function"
    result["resolution"].attrs["comment"] = UNRESOLVED
    if unit:
        result["resolution"].attrs["units"] = unit
    result["chi2"].attrs["long_name"] = "chi^2 per datum"


def warn_of_statuses(codes: np.ndarray, chi2: np.ndarray, method: str) -> None:
    """One warning for each kind of problem that any status reports."""
    from arpes_ml_plugins.continuation.answer import (
        BEYOND,
        COARSE,
        STATUSES,
        UNCONVERGED,
        UNEXPLAINED,
    )
    from arpes_ml_plugins.continuation.status_numbers import joined, numbers_of

    for bit, words in STATUSES.items():
        where = (codes & bit) > 0
        if not where.any():
            continue
        largest = int(reduce(joined, codes[where].reshape(-1, 1))[0])
        words = words.format(**numbers_of(largest))
        more = ""
        if bit == UNEXPLAINED:
            known = (codes[where] & (BEYOND | COARSE)) > 0
            cause = "omega" if known.all() else "beta, omega and stderr"
            more = f" (chi^2 per datum up to {chi2[where].max():.3g}); check {cause}"
        category = ConvergenceWarning if bit == UNCONVERGED else DistributionWarning
        warn(f"{method}: {where.sum()} of {where.size}: {words}{more}", category)


def _warn_of_signs(signs: np.ndarray, method: str) -> None:
    negative = int((signs < 0).sum())
    if 0 < negative < signs.size:
        warn(
            f"{method}: {negative} of {signs.size} slices were read in the negative sign "
            f"convention and the others in the positive one; if all have the same, pass sign=1 or "
            f"sign=-1; for off-diagonal elements, which have either sign, use "
            f"continue_maxent(signed=True)",
            DistributionWarning,
        )
