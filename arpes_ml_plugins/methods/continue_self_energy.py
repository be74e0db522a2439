"""``continue_self_energy``: continue Sigma(i w_n) to real frequencies."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.continuation_docstrings import BLOCKS
from arpes_ml_plugins.methods.continuation_input import ImaginaryData, check_real, read_imaginary
from arpes_ml_plugins.methods.continuation_run import continued
from arpes_ml_plugins.networks.rlista import continuation_network
from arpes_ml_plugins.parameters import check_choice, check_number, check_positive, documented

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.solvers import Algorithm

__all__ = ["continue_self_energy"]

SOLVERS = ("rlista", "maxent")


@documented(**BLOCKS)
def continue_self_energy(
    data: xr.DataArray | xr.Dataset,
    *,
    beta: float | None = None,
    omega: Any = None,
    stderr: Any = None,
    constant: float | None = None,
    moment: float | None = None,
    solver: str = "rlista",
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Continue a self-energy analytically, with its real part by Kramers-Kronig.

    ``Sigma(z) = constant + int A(w) / (z - w) dw``. ``A = -Im Sigma / pi`` is found like a spectral
    function, with an unknown constant (Hartree-Fock) and an unknown integral (the first moment, the
    coefficient of ``1 / (i w_n)``).

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Complex ``Sigma(i w_n)`` of fermions along an axis ``iwn``, in the unit of ``omega``, or
        real ``Sigma(tau)``, which has no constant. All other dimensions are a batch.
    {beta}
    {omega}
    stderr : float or array-like, optional
        Standard error of real and imaginary part: one number, one for each frequency (those from
        Dyson's equation grow with its square), one for each slice, or a DataArray with dimensions
        of the data. Default: estimated from the part of the data that no spectrum can produce, as
        one number, which is wrong for errors that grow.
    constant, moment : float, optional
        Limit at high frequencies and coefficient of ``1 / (i w_n)``, if they are known (for a
        Hubbard model ``U <n>`` and ``U^2 <n> (1 - <n>)``). Default: determined from the data, with
        errors. If these do not determine the moment, ``status`` says so, and ``moment_stderr`` is
        large; a moment that is given is taken as exact.
    solver : {"rlista", "maxent"}
        How to find ``A``: as in :func:`continue_rlista` or in :func:`continue_maxent`.
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        As from :func:`continue_rlista`, with ``-Im Sigma / pi`` as ``spectral_function``, and

        - ``self_energy`` (..., omega): complex, in the unit of the data;
        - ``constant``, ``moment`` and ``constant_stderr``, ``moment_stderr``: only for
          ``Sigma(i w_n)``; the constant of ``Sigma(tau)`` is the given one, or zero.

    Raises
    ------
    {raises}

    Warns
    -----
    {warns}

    Examples
    --------
    A semicircle of half width 1 above a constant of 1; its real part is ``1 + 2 w`` inside:

    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> w_n = (2 * np.arange(60) + 1) * np.pi / 20
    >>> values = 1 + 2 * (1j * w_n - np.sqrt((1j * w_n) ** 2 - 1))
    >>> sigma = xr.DataArray(values, coords={"iwn": w_n}, dims="iwn")
    >>> found = sigma.S.continue_self_energy(beta=20, stderr=1e-4, omega=np.linspace(-2, 2, 161))
    >>> bool(abs(found.constant - 1) < 0.001), bool(abs(found.moment - 1) < 0.01)
    (True, True)
    >>> bool(abs(found.self_energy.sel(omega=0.5, method="nearest").real - 2) < 0.1)
    True
    """
    check_choice("solver", solver, SOLVERS)
    check_positive("moment", moment, optional=True)
    check_number("constant", constant, optional=True)
    shifted, guess = _without_constant(data, dims, constant)
    source = read_imaginary(
        shifted,
        dims,
        beta=beta,
        omega=omega,
        stderr=stderr,
        covariance=None,
        statistics="fermion",
        bins=None,
        norm="any" if moment is None else moment,
        extend=True,
        constant=constant is None,
        causal=True,  # Sigma(tau) is stored with either sign
    )
    if source.common and source.errors is None:
        source = replace(source, errors=_estimated_errors(source))
    result = continued(source, _algorithm(solver), "continue_self_energy", device, progress)
    return _completed(result, source, guess)


def _algorithm(solver: str) -> Algorithm:
    from arpes_ml_plugins.continuation.solvers import MaxEnt, Pretrained

    return Pretrained(True, None, weighed=True) if solver == "rlista" else MaxEnt("chi2kink")


def _without_constant(
    data: Any, dims: Any, constant: float | None
) -> tuple[Any, xr.DataArray | float]:
    """Data less the given constant, or that of their tail."""
    import torch

    from arpes_ml_plugins.continuation.self_energy import constant_at_high_frequency

    if not isinstance(data, xr.DataArray) or data.dtype.kind != "c" or constant is not None:
        given = constant or 0.0
        complex_data = isinstance(data, xr.DataArray) and data.dtype.kind == "c"
        return (data - given if complex_data and given else data), given
    dim: Hashable = dims[0]
    check_real(data, dim)
    frequencies = torch.from_numpy(np.array(data[dim].values, dtype=np.float64))
    weights = xr.DataArray(constant_at_high_frequency(frequencies).numpy(), dims=[dim])
    guess = xr.dot(weights, data.real, dim=[dim])
    return (data - guess).transpose(*data.dims).assign_attrs(data.attrs), guess


def _estimated_errors(source: ImaginaryData) -> np.ndarray:
    """One error for all values, from what no spectrum and no constant can produce."""
    import torch

    from arpes_ml_plugins.continuation.outliers import estimate_error

    array = source.array
    if array.chunks is not None:
        raise DataError("the errors of lazy data cannot be estimated; pass stderr=...")
    values = array.transpose(..., source.dim).values.reshape(-1, array.sizes[source.dim])
    rows = source.problem.rows(torch.from_numpy(values)).double()
    constant = torch.zeros(rows.shape[1], 1, dtype=torch.float64, device="cpu")
    constant[: len(constant) // 2] = float(source.problem.kernel.abs().max())
    known = torch.cat([source.problem.kernel, constant], 1)
    return np.full(rows.shape, float(estimate_error(known, rows).median()))


def _completed(
    result: xr.Dataset, source: ImaginaryData, guess: xr.DataArray | float
) -> xr.Dataset:
    """With the constant, the moment and the complex self-energy."""
    import torch

    from arpes_ml_plugins.continuation.self_energy import kramers_kronig, moment_errors

    axis, dim = source.omega.dims[0], source.dim
    errors = result["stderr"].imag  # those of the real parts, too, without their constant
    constant = guess
    if source.common:
        left = (source.array - result["back_transform"]).real
        constant = guess + left.weighted(1 / errors**2).mean([dim])
    omega = torch.from_numpy(source.omega.values.astype(np.float64))
    real = xr.apply_ufunc(
        lambda density: kramers_kronig(torch.from_numpy(density.copy()), omega).numpy(),
        result["spectral_function"],
        input_core_dims=[[axis]],
        output_core_dims=[[axis]],
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    found = result["sign"] * (real - 1j * np.pi * result["spectral_function"]) + constant
    result["self_energy"] = found.transpose(*result["spectral_function"].dims)
    result["self_energy"].attrs["long_name"] = "self-energy"
    if source.problem.axis != "matsubara":
        return result
    norms = result["spectral_function"].integrate(axis)
    result["constant"] = xr.zeros_like(norms) + constant
    result["moment"] = norms
    result["stderr"] = xr.zeros_like(result["stderr"]) + errors * (1 + 1j)
    problem, network = source.problem, continuation_network("cpu")

    def stated(norm: np.ndarray, error: np.ndarray) -> np.ndarray:
        rows = np.broadcast_to(
            np.concatenate([error, error], -1), (*norm.shape, 2 * error.shape[-1])
        )
        each = zip(np.ravel(norm), rows.reshape(norm.size, -1).copy(), strict=True)
        found = [moment_errors(network, problem, torch.from_numpy(e), float(n)) for n, e in each]
        return np.array(found).reshape(*norm.shape, 2)

    both = xr.apply_ufunc(
        stated,
        norms,
        errors,
        input_core_dims=[[], [dim]],
        output_core_dims=[["of"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"of": 2}},
    )
    result["moment_stderr"], result["constant_stderr"] = both.isel(of=0), both.isel(of=1)
    if not source.common:
        result["constant_stderr"] = xr.zeros_like(result["constant_stderr"])
    if source.norm is not None:
        result["moment_stderr"] = xr.zeros_like(result["moment_stderr"])
    return result
