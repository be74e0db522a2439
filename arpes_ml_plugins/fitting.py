"""Fit lmfit models to samples of a denoised image: parameters with the error of denoising."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, ConvergenceWarning, DataError, ParameterError
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.spectrum import select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit

if TYPE_CHECKING:
    from lmfit import Model, Parameters
    from numpy.typing import ArrayLike, NDArray

__all__ = ["DRAW", "FEWEST_DRAWS", "fit_draws"]

DRAW = "draw"
"""Dimension of the samples."""
FEWEST_DRAWS = 2
"""Number of samples below which there is no scatter."""
DRAWN = "{}_draws"
ERROR = "{}_error"
FAILED = "failed"
BROKEN = (ValueError, ArithmeticError, RuntimeError)
"""What a model raises at impossible parameters, and lmfit if it returns NaN."""
AT_BOUND = 1e-6  # of the starting value or the bound; as close as fits come to one
OFTEN = 0.05  # of the fits


def fit_draws(
    samples: xr.DataArray | xr.Dataset,
    model: Model,
    dim: Hashable,
    *,
    params: Parameters | None = None,
    weights: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Fit a model to every curve of every sample of :func:`sample_posterior` or ``continue_*``.

    The errors that a fit quotes for a denoised curve are several times too small, because the
    errors of its points are not independent. The scatter of the fits to the samples is the error
    of a parameter, including both the noise of the data and the error of the denoiser.

    Parameters
    ----------
    samples : xarray.DataArray or xarray.Dataset
        Samples with a dimension ``draw`` of length 2 or more and the dimension ``dim``. The curves
        along all other dimensions (for example, the momenta of many EDCs) are fitted one after the
        other. Points that are NaN in any sample are left out. The samples are not changed.
    model : lmfit.Model
        Model of a curve; its independent variable is the coordinate of ``dim``.
    dim : hashable
        Axis of a curve: ``"eV"`` for EDCs, a momentum or an angle for MDCs.
    params : lmfit.Parameters, optional
        Starting values, bounds and constraints of every fit; default: ``model.guess`` for the mean
        curve. The fit of each sample starts from that of the mean.
    weights : xarray.DataArray or array_like, optional
        Factor of the residual of each point, as in lmfit: an array with some of the dimensions of
        ``samples`` other than ``draw``, or one number per point along ``dim``. Points with larger
        weights decide more. ``1 / samples.std("draw")`` lets the dim parts of a curve count as
        much as their errors allow, for example the background beside a strong line. Points whose
        weight is zero or NaN are left out. Default: all points count the same.

    Returns
    -------
    xarray.Dataset
        For each parameter ``p`` of the model: ``p``, fitted to the mean of the samples;
        ``p_error``, its standard deviation over the samples; ``p_draws``, its value for each
        sample, along ``draw``, from which errors of functions of parameters and correlations can be
        computed. ``failed``: fraction of the samples whose fit did not succeed; they are NaN in
        ``p_draws`` and ignored in ``p_error``. Curves that cannot be fitted, for example because
        they are NaN after a conversion to momentum, are NaN in all variables. The variables have
        the remaining dimensions of ``samples`` and their coordinates.

    Raises
    ------
    AxisError
        ``samples`` have no dimension ``draw`` or ``dim``, or only one draw.
    ParameterError
        ``params`` are missing, and the model cannot guess starting values; ``params`` are not
        ``lmfit.Parameters``; ``model`` is not an ``lmfit.Model``; or ``weights`` are negative,
        infinite, or do not fit the samples.
    DataError
        All curves have fewer points than the model has free parameters.

    Warns
    -----
    ConvergenceWarning
        A parameter is at a bound in more than 5 % of the fits, so that its error is too small.

    See Also
    --------
    sample_posterior : draw the samples.
    continue_rlista : return ``draws`` of spectra, which are such samples.

    Notes
    -----
    The errors from sixteen samples are accurate to 18 %. The samples contain the bias of the
    denoiser with either sign: a narrow line may be fitted slightly too broad, but the error
    includes this bias.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from lmfit.models import LorentzianModel
    >>> import arpes_ml_plugins
    >>> k = np.linspace(-0.3, 0.3, 61)
    >>> rate = 2 + 30 / (1 + ((k - 0.05) / 0.04) ** 2) * np.ones((32, 1))
    >>> counts = np.random.default_rng(0).poisson(rate)
    >>> cut = xr.DataArray(counts, dims=("eV", "phi"), coords={"phi": k, "eV": np.arange(32)})
    >>> samples = cut.S.sample_posterior(draws=8, adapt=False, rng=0)
    >>> model = LorentzianModel()
    >>> fit = arpes_ml_plugins.fit_draws(samples.isel(eV=[10, 20]), model, "phi")
    >>> bool((abs(fit.center - 0.05) < 5 * fit.center_error).all()), fit.center.dims
    (True, ('eV',))
    """
    samples, _ = strip_unit(select_spectrum(samples)[0])
    if not {DRAW, dim} <= set(samples.dims) or dim == DRAW:
        raise AxisError(
            f"samples need the dimensions {DRAW!r} and {dim!r}, got {samples.dims}; pass the "
            f"result of sample_posterior, or the draws of a continue_* method, and the axis of a "
            f"curve as dim"
        )
    if samples.sizes[DRAW] < FEWEST_DRAWS:
        raise AxisError(
            f"samples need at least {FEWEST_DRAWS} draws, got {samples.sizes[DRAW]}; draw more "
            f"with draws="
        )
    if not hasattr(model, "make_params"):
        raise ParameterError(
            f"model must be an lmfit.Model, got {type(model).__name__}; a function of x and "
            f"parameters becomes one by lmfit.Model(function)"
        )
    if params is not None and not hasattr(params, "valuesdict"):
        raise ParameterError(
            f"params must be lmfit.Parameters, got {type(params).__name__}; numbers become such by "
            f"model.make_params(center=0.1, ...)"
        )
    if params is None and not _guesses(model):
        raise ParameterError(
            f"{model.name} cannot guess its parameters; pass params=, for example "
            f"model.make_params(...) with starting values"
        )
    others = [other for other in samples.dims if other not in (DRAW, dim)]
    values = samples.transpose(*others, DRAW, dim).values
    values = values if np.iscomplexobj(values) else values.astype(float)
    place = samples.coords[dim].values if dim in samples.coords else np.arange(samples.sizes[dim])
    curves = values.reshape(-1, *values.shape[-2:])
    shares = _weights(weights, samples, [*others, dim]).reshape(len(curves), curves.shape[-1])
    if not len(curves):
        raise DataError(f"samples hold no curve: their sizes are {dict(samples.sizes)}")
    one = partial(_fit, model=model, place=place.astype(float), params=params, dim=dim)
    fits = _fits(one, curves, shares)
    shape, shell = values.shape[:-2], samples.isel({dim: 0}, drop=True)
    found: dict[str, xr.DataArray] = {}
    for name in fits[0][0]:
        mean = np.array([best[name] for best, _ in fits]).reshape(shape)
        drawn = np.array([each[name] for _, each in fits]).reshape(*shape, values.shape[-2])
        along = xr.DataArray(drawn, dims=[*others, DRAW], coords=shell.coords)
        found[name] = along.isel({DRAW: 0}, drop=True).copy(data=mean)
        enough = along.notnull().sum(DRAW) > 1
        found[ERROR.format(name)] = along.where(enough, 0).std(DRAW, ddof=1).where(enough)
        found[DRAWN.format(name)] = along
    found[FAILED] = along.isnull().mean(DRAW)
    _warn_of_bounds(found, params)
    return xr.Dataset(found)


def _weights(
    weights: xr.DataArray | ArrayLike | None, samples: xr.DataArray, dims: list[Hashable]
) -> NDArray[np.floating]:
    """Weight of each point of each curve, in the order of ``dims``; NaN where it is left out."""
    each = samples.isel({DRAW: 0}, drop=True).transpose(*dims)
    if weights is None:
        return np.ones(each.shape)
    named = weights if isinstance(weights, xr.DataArray) else xr.DataArray(weights, dims=dims[-1:])
    strange = set(named.dims) - set(dims)
    sizes = {name: (named.sizes[name], each.sizes[name]) for name in named.dims if name in dims}
    if strange or any(got != wanted for got, wanted in sizes.values()):
        raise ParameterError(
            f"weights must have dimensions among {dict(each.sizes)}, got {dict(named.sizes)}; "
            f'pass 1 / samples.std("draw"), or one number per point along {dims[-1]!r}'
        )
    values = named.broadcast_like(each.drop_vars(list(each.coords))).transpose(*dims).values
    if not (np.isnan(values) | ((values >= 0) & (values < np.inf))).all():
        raise ParameterError(
            f"weights must be numbers from 0, got {np.nanmin(values):g} to {np.nanmax(values):g}; "
            f"they are 1 / standard error of each point, and 0 or NaN leaves a point out"
        )
    return np.where(values > 0, values, np.nan)


def _guesses(model: Model) -> bool:
    try:
        model.guess(np.array([0.0, 1.0, 0.0, 0.0, 1.0]), x=np.arange(5.0))
    except NotImplementedError:
        return False
    except Exception:  # it can, but not from these points
        return True
    return True


def _warn_of_bounds(found: dict[str, xr.DataArray], params: Parameters | None) -> None:
    """Samples at a bound scatter less than the data allow."""
    for name, parameter in (params or {}).items():
        if not parameter.vary or name not in found:
            continue
        values = found[DRAWN.format(name)]
        for bound in (parameter.min, parameter.max):
            reach = AT_BOUND * max(abs(parameter.value), abs(bound) if np.isfinite(bound) else 0)
            share = float((abs(values - bound) <= reach).sum() / max(values.notnull().sum(), 1))
            if share > OFTEN:
                warn(
                    f"{name} is at its bound of {bound:g} in {share:.0%} of the fits to samples, "
                    f"so {ERROR.format(name)} is too small; widen the bound, or state a limit "
                    f"instead of an error",
                    ConvergenceWarning,
                )


Values = dict[str, float]
Fit = tuple[Values, dict[str, "NDArray[np.floating]"]]


def _fits(
    fit: Callable[[NDArray[Any], NDArray[np.floating]], Fit],
    curves: NDArray[Any],
    weights: NDArray[np.floating],
) -> list[Fit]:
    """Fits to all curves; NaN for those that cannot be fitted, unless none can."""
    fits: list[Fit | None] = []
    reasons: list[Exception] = []
    for curve, shares in zip(curves, weights, strict=True):
        try:
            fits.append(fit(curve, shares))
        except BROKEN as reason:
            fits.append(None)
            reasons.append(reason)
    worked = next((found for found in fits if found is not None), None)
    if worked is None:  # the model's own reason, where some curves had enough points for it
        raise next((reason for reason in reasons if not isinstance(reason, DataError)), reasons[0])
    none = dict.fromkeys(worked[0], np.nan)
    nothing = none, {name: np.full(curves.shape[1], np.nan) for name in none}
    return [nothing if found is None else found for found in fits]


def _fit(
    curves: NDArray[Any],
    weights: NDArray[np.floating],
    *,
    model: Model,
    place: NDArray[np.floating],
    params: Any,
    dim: Hashable,
) -> Fit:
    """Parameters of the mean curve, and of each curve (NaN if its fit fails)."""
    known = np.isfinite(curves).all(0) & np.isfinite(place) & np.isfinite(weights)
    free = sum(parameter.vary for parameter in (params or model.make_params()).values())
    if known.sum() <= free:
        raise DataError(
            f"no curve has more points that are numbers in all samples than {model.name} has free "
            f"parameters: the first has {known.sum()} along {dim!r} for {free}; select more, or "
            f"fix parameters"
        )
    x, mean = {model.independent_vars[0]: place[known]}, curves[:, known].mean(0)
    start = params if params is not None else model.guess(mean, **x)
    shares = weights[known]
    best = model.fit(mean, start, weights=shares, **x)
    each: dict[str, list[float]] = {name: [] for name in best.params}
    for curve in curves[:, known]:
        try:
            fit = model.fit(curve, best.params, weights=shares, **x)
            worked = bool(fit.success)
        except BROKEN:
            worked = False
        for name, values in each.items():
            values.append(float(fit.params[name].value) if worked else np.nan)
    return (
        {name: float(parameter.value) for name, parameter in best.params.items()},
        {name: np.array(values) for name, values in each.items()},
    )
