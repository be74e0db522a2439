"""``continue_maxent``: continue analytically by maximum entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.continuation_docstrings import BLOCKS
from arpes_ml_plugins.methods.continuation_input import (
    ImaginaryData,
    check_aligned,
    read_imaginary,
)
from arpes_ml_plugins.methods.continuation_matrix import read_matrix
from arpes_ml_plugins.methods.continuation_run import continued
from arpes_ml_plugins.methods.matrix_run import check_without_matrix, continued_matrix
from arpes_ml_plugins.parameters import check_choice, check_flag, check_positive, documented

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.solvers import Algorithm

__all__ = ["continue_maxent"]

DEFAULT_MODELS = ("flat", "rlista")


@documented(**BLOCKS)
def continue_maxent(
    data: xr.DataArray | xr.Dataset,
    *,
    beta: float | None = None,
    omega: Any = None,
    stderr: Any = None,
    covariance: Any = None,
    statistics: str = "fermion",
    bins: bool | None = None,
    norm: float | str | None = None,
    moments: Any = None,
    sign: int | None = None,
    even: bool = False,
    basis: Any = None,
    default_model: str | xr.DataArray = "flat",
    rule: str = "auto",
    preblur: float | str | None = None,
    signed: bool = False,
    orbitals: Sequence[str] | None = None,
    draws: int = 0,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Continue analytically by maximum entropy, for all slices at once.

    Finds, of all spectra that explain the data, the one that differs least from a default model
    [1]_. ``rule`` determines how closely the data are followed, for every slice separately.

    Parameters
    ----------
    {data}
    {beta}
    {omega}
    {stderr}
    {covariance}
    {statistics}
    {bins}
    {norm}
    {moments}
    {sign}
    {even}
    {basis}
    default_model : {"flat", "rlista"} or xarray.DataArray
        The spectrum where the data determine nothing. ``"rlista"``: the estimate of the general
        network (fermions), as in the refinement of :func:`continue_rlista` [4]_. An array along
        ``omega`` (and, optionally, batch dimensions) must not be negative; it is interpolated to
        the frequencies of the result, and its integral is the expected norm.
    rule : {"auto", "chi2kink", "classic", "bryan", "historic"}
        How to choose the strength of the regularisation. ``"chi2kink"``: where following the data
        more closely hardly lowers chi^2 any more, robust against wrong errors [3]_;
        ``"classic"``: the most probable strength; ``"bryan"``: an average over its probability
        [2]_; ``"historic"``: chi^2 equal to the number of data. ``"auto"``: ``"chi2kink"`` for the
        flat default model, ``"classic"`` otherwise, which were the most accurate in tests.
    preblur : float or "auto", optional
        Width (standard deviation, in units of ``omega``) of a Gaussian that blurs the spectrum
        [5]_: the entropy is that of a hidden spectrum, and the result, its blurred form, has no
        narrower structure. This removes artefacts of maximum entropy, above all near zero; larger
        values also lose real peaks that are narrower. ``"auto"``: the most probable of six widths
        from none to a quarter of the window, for every slice. Default: none.
    signed : bool
        Whether the spectrum may have either sign, as for off-diagonal and anomalous Green's
        functions. It is found by positive-negative entropy [5]_, for which the default model is the
        expected size of the spectrum; ``sqrt(A_ii A_jj)`` is a good choice, as no off-diagonal
        element is larger. Their sign cannot be found from the data, which must have that of
        positive diagonal elements: ``-G(tau)`` or ``G(i w_n)``, of bosons ``-G(tau)`` or
        ``-G(i v_n)`` (the susceptibility); with ``sign=-1`` the opposite. Otherwise the spectrum
        comes out with the wrong sign. No norm is assumed, and the credible interval is that of
        maximum entropy. To continue a whole matrix, name its dimensions: ``orbitals``.
    {orbitals}
    {draws}
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    {returns}

    Raises
    ------
    {raises}

    Warns
    -----
    {warns}

    References
    ----------
    .. [1] Jarrell and Gubernatis, Phys. Rep. 269, 133 (1996).
    .. [2] Bryan, Eur. Biophys. J. 18, 165 (1990).
    .. [3] Bergeron and Tremblay, Phys. Rev. E 94, 023303 (2016).
    .. [4] Huang and Yang, Phys. Rev. B 105, 075112 (2022), eq. 6 and Section III F.
    .. [5] Kraberger et al., Phys. Rev. B 96, 155128 (2017).

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> tau, omega = np.linspace(0, 10, 50), np.linspace(-3, 3, 61)
    >>> kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-10 * omega))
    >>> weights = np.exp(-((omega - 1) ** 2) / 0.5)
    >>> g = xr.DataArray(kernel @ weights / weights.sum(), coords={"tau": tau}, dims="tau")
    >>> result = g.S.continue_maxent(beta=10, stderr=1e-5, omega=omega)
    >>> bool(abs(result.spectral_function.idxmax("omega") - 1) < 0.15)
    True
    """
    from arpes_ml_plugins.continuation.maxent import RULES

    check_choice("rule", rule, ("auto", *RULES))
    if not isinstance(default_model, (str, xr.DataArray)):
        raise ParameterError(
            "default_model must be 'flat', 'rlista' or a DataArray along the frequencies of the "
            "result; wrap the array: xarray.DataArray(values, coords={'omega': omega})"
        )
    if isinstance(default_model, str):
        check_choice("default_model", default_model, DEFAULT_MODELS)
    check_flag("signed", signed)
    if isinstance(preblur, str):
        check_choice("preblur", preblur, ("auto",))
    else:
        check_positive("preblur", preblur, optional=True)
    if signed and isinstance(default_model, str) and default_model == "rlista":
        raise ParameterError(
            "the network is trained for positive spectra only: with signed=True default_model must "
            "be 'flat' or a DataArray with the expected size of the spectrum"
        )
    if preblur is not None and isinstance(default_model, str) and default_model == "rlista":
        raise ParameterError(
            "preblur needs default_model='flat' or a DataArray; the network's estimate must not be "
            "blurred"
        )
    if signed and norm not in (None, "any"):
        raise ParameterError("spectra of either sign have no norm; pass norm=None")
    options = {
        "beta": beta,
        "omega": omega,
        "stderr": stderr,
        "covariance": covariance,
        "statistics": statistics,
        "bins": bins,
        "norm": norm,
        "moments": moments,
        "sign": sign,
        "even": even,
        "basis": basis,
    }
    if orbitals is not None:
        own_model = isinstance(default_model, xr.DataArray)
        check_without_matrix(signed=signed, preblur=preblur, draws=draws, default_model=own_model)
        matrix = read_matrix(data, dims, orbitals, **options)
        algorithm = _algorithm(default_model, rule, matrix.diagonal, 0.0, signed=False)
        whole = "classic" if rule == "auto" else rule
        return continued_matrix(matrix, algorithm, whole, "continue_maxent", device, progress, data)
    source = read_imaginary(data, dims, signed=signed, extend=True, **options)
    width = None if isinstance(preblur, str) else preblur or 0.0
    algorithm = _algorithm(default_model, rule, source, width, signed=signed)
    return continued(source, algorithm, "continue_maxent", device, progress, draws=draws, seed=rng)


def _algorithm(
    default_model: str | xr.DataArray,
    rule: str,
    source: ImaginaryData,
    preblur: float | None,
    *,
    signed: bool,
) -> Algorithm:
    from arpes_ml_plugins.continuation.solvers import MaxEnt, Pretrained, SignedMaxEnt

    if signed:
        model = None if isinstance(default_model, str) else _default_model(default_model, source)
        return SignedMaxEnt("chi2kink" if rule == "auto" else rule, preblur, model)
    if isinstance(default_model, xr.DataArray):
        model = _default_model(default_model, source)
        return MaxEnt("classic" if rule == "auto" else rule, model, preblur)
    if default_model == "flat":
        return MaxEnt("chi2kink" if rule == "auto" else rule, preblur=preblur)
    return Pretrained(True, None) if rule == "auto" else Pretrained(True, None, rule, rule)


def _default_model(model: xr.DataArray, source: ImaginaryData) -> np.ndarray:
    """Density of the default model for every slice, ``(slices, omega * parts)``."""
    name = source.omega.dims[0]
    if name not in model.dims:
        raise ParameterError(
            f"default_model must have the dimension {name!r} of the result, got "
            f"{tuple(map(str, model.dims))}"
        )
    batch = [dim for dim in source.array.dims if dim != source.dim]
    strange = set(model.dims) - {name, *batch}
    if strange:
        raise ParameterError(
            f"default_model has the dimensions {sorted(map(str, strange))}, which the data lack"
        )
    if name in model.coords:
        own = source.problem.omega.numpy()
        low, high = float(model[name].min()), float(model[name].max())
        cell = float(np.diff(source.omega.values).max())
        inside = (own >= low - cell / 2) & (own <= high + cell / 2)
        near = model.interp({name: np.clip(own[inside], low, high)})
        model = near.assign_coords({name: own[inside]}).reindex({name: own}, fill_value=0.0)
    elif model.sizes[name] != len(source.omega):
        raise ParameterError(
            f"default_model has {model.sizes[name]} points along {name!r} and no coordinate, the "
            f"result has {len(source.omega)}"
        )
    else:
        model = model.isel({name: np.arange(len(source.omega)).repeat(source.parts)})
        below, end = source.problem.named or (0, len(source.problem.omega))
        above = len(source.problem.omega) - end
        model = model.pad({name: (below, above)}, constant_values=0.0)
    values = np.asarray(model.values, dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any() or not (values > 0).any():
        raise ParameterError("default_model must be finite, nowhere negative and not zero")
    shell = source.array.isel({source.dim: 0}, drop=True)
    check_aligned("default_model", model.drop_vars([name], errors="ignore"), source.array)
    for dim in batch:
        if dim in model.dims and model.sizes[dim] != source.array.sizes[dim]:
            raise ParameterError(
                f"default_model has {model.sizes[dim]} points along {dim!r}, the data have "
                f"{source.array.sizes[dim]}"
            )
    bare = xr.DataArray(values, dims=model.dims)
    sizes = {dim: shell.sizes[dim] for dim in batch}
    whole = bare.expand_dims({d: n for d, n in sizes.items() if d not in bare.dims})
    return whole.transpose(*batch, name).values.reshape(-1, len(source.problem.omega))
