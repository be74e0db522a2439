"""How much longer to measure, until a quantity is known as well as it has to be."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import CountsWarning, DataError
from arpes_ml_plugins.fitting import FEWEST_DRAWS
from arpes_ml_plugins.labelled.axes import IMAGE, resolve_dims
from arpes_ml_plugins.labelled.seeds import seed_from
from arpes_ml_plugins.labelled.spectrum import select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.parameters import check_count, check_positive
from arpes_ml_plugins.plugins.call import public_function
from arpes_ml_plugins.plugins.manager import plugins

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.noise_model import NoiseModel

__all__ = ["counts_needed"]

FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Exposures that are simulated, in units of the present one."""
BEYOND = 4.0  # times the longest of them: what lies farther is a guess
USUAL, USUAL_SPREAD = -0.5, 0.12  # slope of log(error) over log(exposure)
FLATTEST = -0.2  # slope that is still a decrease


def counts_needed(
    data: xr.DataArray | xr.Dataset,
    quantity: Callable[[xr.DataArray], float],
    error: float,
    *,
    draws: int = 12,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
) -> xr.Dataset:
    """How much longer to measure until the error of a quantity is what it has to be.

    The data are denoised; the clean image is measured again in simulation, for half to eight times
    as long as the data were, with the noise that they have; each of these measurements is denoised
    and ``quantity`` taken from it. How its error falls with the exposure tells when to stop.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        What has been measured so far, as for :func:`denoise_pretrained`. Not changed.
    quantity : callable
        From a denoised image, with the axes of ``data``, to a number: a fitted position, a width,
        an integrated intensity. It is called ``5 * draws + 1`` times.
    error : float
        Standard deviation wanted, in the unit of ``quantity``.
    draws : int
        Simulated measurements for each exposure, at least 2. Twelve tell each error to 20 %, and
        the factor to about as much.
    device : str
        As for the methods.
    rng : int or generator, optional
        Seed: the same answer every time.
    dims : mapping or sequence, optional
        The energy and the momentum axis where names do not tell.

    Returns
    -------
    xarray.Dataset
        - ``factor``: the exposure needed over the present one; 1 or less if that was enough,
          infinite if longer measurements do not help. ``factor_error``: its standard deviation;
        - ``value``: ``quantity`` of the clean image; ``error_now``: its error as things stand;
        - ``simulated_error`` along ``exposure``: root mean square of what was simulated;
        - ``status``: a sentence.

    Raises
    ------
    DataError
        The noise of the data is not that of counts, or ``quantity`` is not a finite number.
    ParameterError
        ``error`` is not positive, or fewer than 2 draws.

    See Also
    --------
    sample_posterior, fit_draws : the error of what was measured.

    Notes
    -----
    Between the exposures, and beyond them, the error is taken as a power of the exposure, fitted to
    all of them; that it falls with the root of the exposure, give or take a quarter, is assumed
    beforehand. It falls more slowly where the network knows more than the data, and faster where
    structure emerges. Where a fit goes astray now and then, as with few counts, the answer scatters
    by more than ``factor_error``: ask again when half of the time has passed.

    Examples
    --------
    >>> import numpy as np, arpes_ml_plugins
    >>> from arpes_ml_plugins import simulate_scene
    >>> cut = simulate_scene((32, 32), counts=2, rng=1).spectrum
    >>> total = lambda image: float(image.isel(eV=slice(10, 30)).sum())
    >>> needed = arpes_ml_plugins.counts_needed(cut, total, error=20.0, draws=4, rng=0)
    >>> bool(1 < needed.factor < 20)
    True
    """
    check_positive("error", error)
    check_count("draws", draws, least=FEWEST_DRAWS)
    array, _ = select_spectrum(data)
    array, _ = strip_unit(array)
    seed, hook = seed_from(rng), plugins().hook
    image = resolve_dims(
        array, IMAGE, dims, lambda data, role: hook.resolve_axis(data=data, role=role)
    )
    options = {"device": device, "dims": dims}
    estimate = _method("estimate_noise")(array, **options)
    clean = _method("denoise_pretrained")(array, adapt=False, rng=seed, **options)
    noise = _model(estimate)
    value = _number(quantity, clean)
    errors = []
    for exposure in FACTORS:
        off = []
        for draw in range(draws):
            again = _simulated(clean, image, noise, exposure, seed + 1 + draw)
            gain = None if noise.shift else noise.gain / exposure
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CountsWarning)  # about an image nobody sees
                image_again = _method("denoise_pretrained")(
                    again, adapt=False, gain=gain, mesh=None, rng=seed, **options
                )
            off.append(_number(quantity, image_again) - value)
        errors.append(math.sqrt(np.mean(np.square(off))))
    return _answer(value, np.array(errors), error, draws)


def _method(name: str) -> Callable[..., Any]:
    return public_function(plugins().methods[name])


def _model(estimate: xr.Dataset) -> NoiseModel:
    from arpes_ml_plugins.denoising.noise_model import NoiseModel

    correlated = str(estimate["kind"].values) == "correlated"
    rows, columns = (
        float(estimate[f"{axis}_correlation"]) if correlated else 0.0
        for axis in ("energy", "momentum")
    )
    return NoiseModel(float(estimate["gain"]), float(estimate["shift"]), rows, columns)


def _number(quantity: Callable[[xr.DataArray], float], image: xr.DataArray) -> float:
    value = float(quantity(image))
    if not math.isfinite(value):
        raise DataError(
            f"quantity gave {value}; expected a finite number of every denoised image. Test it on "
            f"data.S.denoise() first"
        )
    return value


def _simulated(
    clean: xr.DataArray, image: tuple[Hashable, ...], noise: NoiseModel, exposure: float, seed: int
) -> xr.DataArray:
    """A measurement of ``clean`` that took ``exposure`` times as long, in the same unit."""
    import torch

    batch = [dim for dim in clean.dims if dim not in image]
    ordered = clean.transpose(*batch, *image)
    missing = np.isnan(ordered.values)
    electrons = noise.electrons(torch.from_numpy(np.where(missing, 0, ordered.values)).double())
    generator = torch.Generator().manual_seed(seed)
    drawn = noise.measured(electrons * exposure, generator)
    values = np.where(missing, np.nan, noise.values(drawn / exposure).numpy())
    return ordered.copy(data=values).transpose(*clean.dims)


def _answer(value: float, errors: np.ndarray, wanted: float, draws: int) -> xr.Dataset:
    """The exposure at which the errors, a power of it, are as wanted."""
    each = (2 * (draws - 1)) ** -0.5  # relative error of a standard deviation
    # What is known beforehand is one more equation: noise makes errors fall with the root.
    design = np.array([*((1.0, math.log(factor)) for factor in FACTORS), (0.0, 1.0)])
    weights = np.array([*(1 / each for _ in FACTORS), 1 / USUAL_SPREAD])
    known = np.append(np.log(np.maximum(errors, np.finfo(float).tiny)), USUAL)
    weighted = design.T * weights**2
    covariance = np.linalg.inv(weighted @ design)
    level, slope = covariance @ weighted @ known
    now = math.exp(level)
    if slope > FLATTEST:
        factor, spread = (1.0 if now <= wanted else math.inf), math.nan
        status = "the error does not fall with the exposure: it is not the noise that limits it"
    else:
        power = (math.log(wanted) - level) / slope
        gradient = np.array([-1 / slope, -power / slope])
        factor = math.exp(power)
        spread = factor * math.sqrt(gradient @ covariance @ gradient)
        status = "enough has been measured" if factor <= 1 else "measure longer"
        if factor > BEYOND * FACTORS[-1]:
            status += "; the exposure is far beyond those simulated, so its factor is a guess"
    numbers = {
        "factor": factor,
        "factor_error": spread,
        "value": value,
        "error_now": now,
        "status": status,
    }
    return xr.Dataset(
        {"simulated_error": ("exposure", errors), **numbers}, coords={"exposure": list(FACTORS)}
    )
