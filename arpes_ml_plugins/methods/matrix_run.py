"""Continue the matrix of a Green's function, and label its results like those of single spectra."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import DataError, ParameterError
from arpes_ml_plugins.labelled.apply import Image, ImageBatch, Output, Trace, map_images
from arpes_ml_plugins.labelled.outputs import Part
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.continuation_matrix import MatrixData
from arpes_ml_plugins.methods.continuation_run import (
    BATCH,
    describe,
    facts,
    problem_on,
    statuses_in_words,
    warn_of_statuses,
)
from arpes_ml_plugins.networks.rlista import continuation_network

if TYPE_CHECKING:
    from arpes_ml_plugins.continuation.moments import Moments
    from arpes_ml_plugins.continuation.solvers import Algorithm

__all__ = ["check_without_matrix", "continued_matrix"]

ALONG = ("spectral_function", "lower", "upper", "resolution")
"""Results along the frequencies."""


def check_without_matrix(**unusable: Any) -> None:
    """Refuse parameters that cannot be used for a matrix."""
    for name, value in unusable.items():
        if value:
            raise ParameterError(
                f"{name} cannot be used with orbitals, for the whole matrix; leave out one of both"
            )


def continued_matrix(
    matrix: MatrixData,
    algorithm: Algorithm,
    rule: str,
    method: str,
    device: str,
    progress: ProgressOption,
    data: xr.DataArray | xr.Dataset,
) -> xr.Dataset:
    """Labelled results for every element of the matrix.

    Parameters
    ----------
    algorithm
        For the elements of the diagonal.
    rule
        That chooses the strength of the entropy of the whole matrix.
    data
        As they came, for the order of the dimensions and the coordinates.
    """
    source = matrix.diagonal
    name = str(source.omega.dims[0])
    along = Trace(name, len(source.omega), "float64", source.omega)
    one = (matrix.element,)
    outputs: dict[str, Output] = {
        **dict.fromkeys(ALONG, Part(one, along, "float64")),
        "violation": along,
        "back_transform": Image(),
        "chi2": Part(one, None, "float64"),
        "out_of_distribution": Part(one, None, "bool"),
        "status": Part(one, None, "int64"),
        "sign": Part(one, None, "int64"),
        "stderr": Image(),
    }
    arrays = map_images(
        matrix.array,
        (matrix.element, source.dim),
        partial(_run, matrix=matrix, algorithm=algorithm, rule=rule),
        outputs,
        method=method,
        # MPS has no float64, without which the small singular values are lost.
        device="cpu" if device.startswith("mps") else device,
        progress=progress,
        batch_size=max(1, BATCH // matrix.size**2),
    )
    result = xr.Dataset(_of_elements(arrays, matrix))
    codes = result["status"]
    result["status"] = statuses_in_words(codes)
    result = _in_order(result, matrix, data)
    result.attrs["found"] = facts(source)  # into the provenance
    describe(result, source)
    result["violation"].attrs["long_name"] = "what single elements miss the cone by"
    if codes.chunks is None:  # lazy results do not warn; their status reports it
        warn_of_statuses(codes.values, result["chi2"].values, method)
    return result


def _run(
    batch: ImageBatch, *, matrix: MatrixData, algorithm: Algorithm, rule: str
) -> dict[str, Any]:
    """Solve one batch of matrices."""
    import torch

    from arpes_ml_plugins.continuation.checked import Checked
    from arpes_ml_plugins.continuation.matrix import MatrixSolver
    from arpes_ml_plugins.continuation.problem import merged
    from arpes_ml_plugins.continuation.solvers import SignedMaxEnt

    if not bool(batch.valid.all()):  # of lazy data only: others are looked at before
        raise DataError("the data hold NaN, which this method does not handle; fill them")
    source, device = matrix.diagonal, batch.images.device
    count = matrix.array.sizes[matrix.element]

    def selected(first: Any, rest: Any) -> Any:
        """Errors of all elements of these matrices."""
        if first is None or rest is None:
            return None
        both = [first.reshape(-1, matrix.size, *first.shape[1:]), rest]
        return torch.from_numpy(np.concatenate([part[batch.index] for part in both], 1)).to(device)

    errors = selected(source.errors, matrix.errors)
    covariance = None
    if source.covariance is not None:
        first, rest = source.covariance, matrix.covariance
        assert rest is not None
        if first.ndim == 2 or rest.ndim == 2:
            slices = int(batch.index.max()) + 1
            first = _for_each(first, slices * matrix.size)
            rest = _for_each(rest, slices * (count - matrix.size)).reshape(
                slices, -1, *rest.shape[-2:]
            )
        covariance = selected(first, rest)
    network = continuation_network(str(device))
    solver = MatrixSolver(
        matrix.size,
        matrix.complex_valued,
        Checked(
            network,
            algorithm,
            norm=source.norm,
            any_norm=source.any_norm,
            moments=_moments_of(source.moments, batch.index, matrix.size),
        ),
        Checked(
            network,
            SignedMaxEnt("chi2kink"),
            moments=_moments_of(matrix.moments, batch.index, count - matrix.size),
            of_matrix=True,
        ),
        rule,
    )
    answers, violation = solver(problem_on(source, device), batch.images, errors, covariance)
    if batch.report:
        batch.report(len(batch.images), None)
    results = {name: getattr(answers, name) for name in answers.__dataclass_fields__}
    del results["used"], results["draws"]
    results["violation"] = violation
    for name in (*ALONG, "violation"):
        named = results[name][..., slice(*(source.problem.named or (None,)))]
        results[name] = merged(named, source.parts)
        if name in ALONG:
            results[name] = results[name].mT  # (b, omega, element)
    return results


def _for_each(covariance: np.ndarray, count: int) -> np.ndarray:
    if covariance.ndim > 2:
        return covariance
    return np.broadcast_to(covariance, (count, *covariance.shape))


def _moments_of(moments: Moments | None, index: np.ndarray, elements: int) -> Moments | None:
    """Those of the elements of some matrices."""
    if moments is None:
        return None
    values = moments.values.reshape(-1, elements, moments.values.shape[-1])[index]
    return replace(moments, values=values.reshape(-1, values.shape[-1]))


def _of_elements(arrays: dict[str, xr.DataArray], matrix: MatrixData) -> dict[str, xr.DataArray]:
    """Results along both dimensions of the matrix."""
    from arpes_ml_plugins.continuation.status_numbers import joined

    real, imaginary, sign = (xr.DataArray(m, dims=matrix.orbitals) for m in matrix.separated())

    def at(array: xr.DataArray, where: xr.DataArray) -> xr.DataArray:
        return array.isel({matrix.element: where})

    found = {"violation": arrays["violation"]}
    for name, array in arrays.items():
        if name != "violation":
            found[name] = at(array, real)
    if not matrix.complex_valued:
        return found
    parts = {name: at(arrays[name], imaginary) for name in found if name != "violation"}
    beside = sign != 0
    for name in ("spectral_function", "back_transform"):
        found[name] = found[name] + 1j * sign * parts[name]
    ends = parts["lower"], parts["upper"]
    for name, own, other in (("lower", *ends), ("upper", *ends[::-1])):
        found[name] = found[name] + 1j * xr.where(sign > 0, own, -other).where(beside, 0.0)
    found["stderr"] = _errors_of_elements(found["stderr"], parts["stderr"], beside)
    found["chi2"] = xr.where(beside, (found["chi2"] + parts["chi2"]) / 2, found["chi2"])
    both = xr.apply_ufunc(
        joined, found["status"], parts["status"], dask="parallelized", output_dtypes=[np.int64]
    )
    found["status"] = xr.where(beside, both, found["status"])
    wrong = found["out_of_distribution"] | (parts["out_of_distribution"] & beside)
    found["out_of_distribution"] = wrong
    coarser = np.maximum(found["resolution"], parts["resolution"])
    found["resolution"] = xr.where(beside, coarser, found["resolution"])
    return found


def _errors_of_elements(
    real: xr.DataArray, imaginary: xr.DataArray, beside: xr.DataArray
) -> xr.DataArray:
    """Errors of ``z = x + i y`` and its conjugate, from those of the parts x and y."""
    if real.dtype.kind != "c":  # in imaginary time both are real
        return real + 1j * imaginary.where(beside, 0.0)
    both = np.hypot(real.real, imaginary.imag) + 1j * np.hypot(real.imag, imaginary.real)
    return xr.where(beside, both, real)


def _in_order(
    result: xr.Dataset, matrix: MatrixData, data: xr.DataArray | xr.Dataset
) -> xr.Dataset:
    """With the dimensions in the order of the data, and the coordinates of the orbitals."""
    axis, dim = matrix.diagonal.omega.dims[0], matrix.diagonal.dim
    order = [name for name in data.dims if name in result.dims and name != dim]
    result = result.transpose(*order, dim, axis)
    own = {
        name: coordinate.variable
        for name, coordinate in data.coords.items()
        if set(coordinate.dims) & set(matrix.orbitals) and set(coordinate.dims) <= set(order)
    }
    return result.assign_coords(own)
