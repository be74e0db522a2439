"""Run a solver over all slices, and label its results with statuses and warnings.

The blocks that the docstrings of all ``continue_*`` methods share are here too.
"""

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
    "FAMILY",
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

FAMILY = {
    "data": """
        data : xarray.DataArray or xarray.Dataset
            ``G(tau)`` of fermions (or a correlation function of bosons) along an axis ``tau``,
            with values of either sign convention; or complex ``G(i w_n)`` along an axis ``iwn``,
            which may be real for bosons with an even spectrum;
            or coefficients of ``G(tau)`` in Legendre polynomials or another ``basis`` along ``l``.
            Values at negative frequencies must be the conjugates of those at positive ones; they
            are folded onto these, with their errors. All other dimensions are a batch, except
            ``bin`` if neither ``stderr`` nor ``covariance`` is given: Monte Carlo bins in the order
            of the simulation, which are averaged and, merged until they are independent, give the
            covariance of the errors. NaN is refused.""",
    "beta": """
        beta : float, optional
            Inverse temperature in the unit of ``tau``. Default: a coordinate or attribute
            ``beta``, or ``temperature`` in K if the attribute ``units`` of ``tau`` is known (1/eV,
            1/meV, 1/Ha, 1/Ry, 1/K, fs and others). A temperature may be rounded to three digits: if
            the last time or the Matsubara frequencies agree with it to that accuracy, ``beta`` is
            taken from them. Matsubara frequencies alone are sufficient. A value that contradicts a
            coordinate or attribute of the data by more than 0.5 % is refused.""",
    "omega": """
        omega : array_like or xarray.DataArray, optional
            Real frequencies of the result, ascending, in the inverse unit of ``tau``. Default:
            101 points over the window that the data make most likely (not lazy), for bosons from
            zero up unless the data show that ``A(w) / w`` is not even.""",
    "stderr": """
        stderr : float, array_like or xarray.DataArray, optional
            Standard error of the data: one number, one for each imaginary time, or an array with
            dimensions of the data. Default: estimated from the part of the data that no spectrum
            can produce, for errors that are independent and equal; state it if you know it.""",
    "covariance": """
        covariance : array_like, optional
            Covariance of the errors, ``(tau, tau)``, or one for every slice, ``(..., tau, tau)``,
            instead of ``stderr``. Directions without variance, for example because
            ``G(0) + G(beta) = 1`` in every sample, are left out, if they are at most a tenth of
            all. One of fewer samples than twice the data holds errors that are far too small: pass
            the samples themselves.""",
    "statistics": """
        statistics : {"fermion", "boson"}
            Statistics of the operators. For bosons the result is ``A(w) / w``, which is taken to be
            even if all frequencies are zero or above.""",
    "bins": """
        bins : bool, optional
            Whether to integrate the kernel over the cells of ``omega``, in each of which the
            spectrum is taken as constant (True), or to take it at their centres, as in the paper
            (False). Default: at the centres; but if ``beta`` times the widest cell is above 1.5, so
            that ``exp(-tau w)`` is not linear within a cell, solve on up to twelve parts of each
            cell (and integrate over them, if more would be needed), and return their mean.""",
    "norm": """
        norm : float or "any", optional
            Integral of the spectrum, if it is known. Default: determined from the data; for
            fermions ``status`` reports it if it is not 1 (``G = <<c, c+>>``), because a wrong
            ``beta`` or unit shows in nothing else. If the data do not determine it (no imaginary
            times near 0 or ``beta``), 1 is assumed for fermions, and ``status`` reports it.
            ``"any"``: any norm is right (hybridisation functions, composite operators).""",
    "sign": """
        sign : {1, -1}, optional
            Convention of the data. 1: the positive one, ``<c(tau) c+> = -G(tau)``,
            ``Im G(i w_n) < 0`` for ``w_n > 0``; -1: the opposite, as ``G(tau) = -<T c(tau) c+>``
            is stored by most codes. Data that contradict it are refused. Default: determined for
            each slice separately; ``sign`` in the result holds it, and ``status`` reports slices in
            which noise may have determined it.""",
    "even": """
        even : bool
            Whether the spectrum is known to be even, ``A(-w) = A(w)``, as for fermions with
            particle-hole symmetry. Times in ``[0, beta / 2]`` are then sufficient; otherwise they
            do not determine the spectrum below zero. Spectra of bosons on frequencies that are zero
            or above are always taken as even.""",
    "basis": """
        basis : xarray.DataArray, callable or object, optional
            The functions ``U_l``, if the data are coefficients ``G_l`` of
            ``G(tau) = sum_l U_l(tau) G_l`` along ``l``: an array along imaginary time (with its
            coordinate) and ``l``; a function from times ``(m,)`` to values ``(m, l)`` or
            ``(l, m)``; or an object with such a function ``u``, like the bases of sparse-ir. Errors
            and covariance are those of the coefficients. Default: data along ``l`` or ``legendre``
            are Legendre coefficients,
            ``U_l = sqrt(2 l + 1) / beta P_l(2 tau / beta - 1)`` (Boehnke et al., Phys. Rev. B 84,
            075145 (2011)).""",
    "moments": """
        moments : sequence or mapping, optional
            Known moments of the spectrum, ``int w^n A(w) dw`` for n = 0, 1, 2, ... (or by n,
            ``{1: 0.3}``; None for unknown ones): numbers, which are taken as exact, or pairs of
            value and standard error; values may be arrays along dimensions of the batch.
            For ``G = <<c, c+>>`` the first is ``<{[c, H], c+}>``. They are fitted together with the
            data, weighted by their errors; ``status`` reports contradictions between both. With
            moments above n = 0 the spectrum is taken to lie within ``omega``. For bosons they are
            moments of the result, ``A(w) / w``.""",
    "orbitals": """
        orbitals : sequence of two str, optional
            The two dimensions of a matrix of Green's functions, ``G_ij``, for example
            ``("i", "j")``; otherwise they are a batch. The result is Hermitian and positive
            semidefinite at every frequency, so that ``|A_ij| <= sqrt(A_ii A_jj)``, and agrees with
            all elements of the data. The elements of the diagonal are continued first, then those
            beside it by positive-negative entropy with this bound as default model, and then all
            together by the maximum entropy of matrices (Sim and Han, Phys. Rev. B 98, 205102
            (2018)) around both. The result is complex unless the data are real or symmetric;
            ``lower``, ``upper`` and ``stderr`` are then those of real and imaginary part.
            ``G_ij(tau)`` must be the conjugate of ``G_ji(tau)`` within its errors; if it is not
            just a copy, the mean of both is used, which has the smaller error (lazy data are
            taken as copies). ``moments`` may be matrices, too; numbers are those of the diagonal.
            The result has a further variable ``violation`` (..., omega): the sum of the negative
            eigenvalues, per unit of ``omega``, of the matrix of elements that are continued one by
            one.""",
    "training_steps": """
        training_steps : int, optional
            Number of training steps, if a network is trained; default 4000 (published: 58 650).""",
    "training_seed": """
        training_seed : int
            Seed of the training. A network trained with the same seed for the same kind of data is
            taken from the cache.""",
    "device": """
        device : str
            Where to compute: ``"auto"`` (CUDA, then the CPU; not MPS, which lacks float64) or the
            name of a torch device.""",
    "rng": """
        rng : int, numpy.random.Generator or torch.Generator, optional
            Seed of the draws. Otherwise only training is random, and has a seed of its own.""",
    "draws": """
        draws : int
            Number of spectra to draw per slice from the posterior; 0 for none. The error of a
            quantity that depends on several frequencies (the weight in a window, a fitted width, a
            Kramers-Kronig transform) is the scatter of its values over the draws; it cannot be
            obtained from ``lower`` and ``upper``. Each draw takes about 1 ms.""",
    "dims": """
        dims : mapping or sequence of str, optional
            The imaginary axis, if its name does not show it: ``{"tau": "t"}``.""",
    "returns": """
        xarray.Dataset
            - ``spectral_function`` (..., omega): per unit of ``omega``; its axis is called ``eV``
              if the data say that ``tau`` is in 1/eV.
            - ``lower``, ``upper`` (..., omega): 90 % credible interval for the truth at each
              frequency, from the posterior of the general network, or from that of maximum entropy
              if the network was not trained for such data. At narrow peaks it contains peaks of
              the same weight and of all widths that explain the data, down to one cell of
              ``omega``.
            - ``resolution`` (..., omega): width (area over height) that a delta function of small
              weight would have in the result at each frequency, on a flat default model. Narrower
              structure is blurred; its position and area are known better than its width. Many
              such peaks side by side look like a smooth spectrum, which no status shows: the
              interval is then one for the spectrum blurred by half of this width.
            - ``draws`` (..., draw, omega): only with ``draws`` above 0. Each explains the data, and
              at each frequency about 90 % of them lie within the credible interval.
            - ``back_transform`` (..., tau): the data that the result gives, in the sign of the
              data.
            - ``chi2``: chi^2 per datum, with the stated errors, of the data that were used.
            - ``out_of_distribution``: True if the result does not explain the data, or the data are
              unlike those of all training spectra.
            - ``status``: everything that is unusual, in words; otherwise ``"ok"``.
            - ``sign``: 1 for positive data, ``-G(tau)``, and -1 for the other convention.
            - ``stderr`` (..., tau): the errors used (complex at Matsubara frequencies: those of
              real and imaginary part).""",
    "raises": """
        AxisError, DataError, DataTypeError, ParameterError, DeviceError
            No imaginary axis, times outside ``[0, beta]`` or not ascending, no ``beta``, complex
            ``G(tau)``, errors that are not positive, a covariance that is not positive definite,
            NaN; the message says what to do.""",
    "warns": """
        DistributionWarning
            Some results do not explain their data, some data are unlike those of the training,
            errors were raised, or outliers were left out. ``status`` shows for which slices.
        ConvergenceWarning
            The iteration did not converge. ``status`` shows for which slices.""",
}
"""Blocks of docstrings, see :func:`~arpes_ml_plugins.parameters.documented`."""


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
