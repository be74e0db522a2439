"""``continue_rlista`` and ``continue_lista``: continue analytically by learned optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.continuation_docstrings import BLOCKS
from arpes_ml_plugins.methods.continuation_input import ImaginaryData, read_imaginary
from arpes_ml_plugins.methods.continuation_matrix import read_matrix
from arpes_ml_plugins.methods.continuation_run import continued
from arpes_ml_plugins.methods.matrix_run import check_without_matrix, continued_matrix
from arpes_ml_plugins.networks.rlista import trained_network
from arpes_ml_plugins.parameters import check_choice, check_count, check_flag, documented

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.solvers import Algorithm

__all__ = ["continue_lista", "continue_rlista"]

RECIPES = ("general", "trained", "published")
LISTA_RECIPES = ("trained", "published")
OUTSIDE = ("maxent", "train")


@documented(**BLOCKS)
def continue_rlista(
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
    recipe: str = "general",
    refine: bool | None = None,
    outside: str = "maxent",
    layers: int | None = None,
    training_steps: int | None = None,
    training_seed: int = 0,
    orbitals: Sequence[str] | None = None,
    draws: int = 0,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Continue analytically by a learned optimizer (RLISTA), refined by maximum entropy.

    A network [1]_ that was trained on many kinds of spectra, inverse temperatures, time grids and
    errors gives an estimate at once. Maximum entropy with this estimate as default model then makes
    it agree with the data (RLISTA+), within their errors and no closer. The result is a mixture of
    this and of maximum entropy with a flat default model, which is better for smooth spectra and
    small errors; a small network determines their shares from both.

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
    recipe : {"general", "trained", "published"}
        ``"general"``: the network that comes with the package. ``"trained"``: a network trained for
        exactly these times, ``beta``, ``stderr`` and frequencies, in a minute on one core, and kept
        in the user's cache. ``"published"``: a network trained as in [1]_ (raw data, Table I,
        spectra of eq. 16), in some minutes, and kept too. Differences from the paper: frequencies
        are scaled to the window, and thresholds are kept at zero or above.
    refine : bool, optional
        Refine by maximum entropy. Default: True, except for ``"published"``. If False, the result
        is that of the network alone and may miss the data by many standard errors, which ``status``
        does not report: see ``chi2``.
    outside : {"maxent", "train"}
        What to do with data outside the range of the general network (fewer than 20 times or
        10 Matsubara frequencies, 20 if their data are real; errors above 2 % of the norm; ``beta``
        times the largest frequency outside 1 to 40 000): use maximum entropy with a flat default
        model, or train a network (fermions). Maximum entropy is also used for data unlike those of
        all training spectra; ``status`` reports it.
    layers : int, optional
        Depth of the network, if one is trained; default 10.
    {training_steps}
    {training_seed}
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
    .. [1] Huang and Yang, "Learned optimizers for analytic continuation", Phys. Rev. B 105, 075112
       (2022), eq. 15 and Section III F.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> tau, omega = np.linspace(0, 10, 50), np.linspace(-3, 3, 61)
    >>> kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-10 * omega))
    >>> weights = np.exp(-((omega - 1) ** 2) / 0.5)
    >>> g = xr.DataArray(kernel @ weights / weights.sum(), coords={"tau": tau}, dims="tau")
    >>> result = g.S.continue_rlista(beta=10, stderr=1e-5, omega=omega)
    >>> bool(abs(result.spectral_function.idxmax("omega") - 1) < 0.15)
    True
    >>> str(result.status.item())
    'ok'

    The weight above zero, with its error:

    >>> drawn = g.S.continue_rlista(beta=10, stderr=1e-3, omega=omega, draws=16, rng=0).draws
    >>> weight = drawn.sel(omega=slice(0, None)).integrate("omega")
    >>> bool(abs(weight.mean() - 0.97) < 0.03), bool(weight.std() < 0.03)
    (True, True)
    """
    check_choice("recipe", recipe, RECIPES)
    check_choice("outside", outside, OUTSIDE)
    check_count("layers", layers, optional=True)
    check_count("training_steps", training_steps, optional=True)
    check_count("training_seed", training_seed, least=0)
    check_flag("refine", refine, optional=True)
    if recipe != "general" and (even or basis is not None or moments is not None):
        raise ParameterError(
            "networks are trained for G(tau), G(i w_n) and Legendre coefficients, without further "
            "knowledge of the spectrum; with even=True, basis= or moments= use recipe='general'"
        )
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
    matrix = None
    if orbitals is None:
        source = read_imaginary(data, dims, extend=recipe == "general", **options)
    else:
        if recipe != "general" or (refine is not None and not refine):
            raise ParameterError(
                "orbitals needs recipe='general' and refine=True: a network alone does not see the "
                "matrix as a whole"
            )
        check_without_matrix(draws=draws)
        matrix = read_matrix(data, dims, orbitals, **options)
        source = matrix.diagonal
    refine = recipe != "published" if refine is None else refine
    training = {"layers": layers or 10, "steps": training_steps, "seed": training_seed}
    algorithm: Algorithm
    if recipe == "general":
        from arpes_ml_plugins.continuation.solvers import Pretrained

        fallback = None
        if outside == "train":
            _check_trainable(statistics)
            fallback = partial(_trained, source, "trained", 0.5, training, progress, refine)
        algorithm = Pretrained(refine, fallback, weighed=True)
        if matrix is not None:
            return continued_matrix(
                matrix, algorithm, "classic", "continue_rlista", device, progress, data
            )
    else:
        _check_trainable(statistics)
        algorithm = _trained(source, recipe, 0.5, training, progress, refine)
    return continued(source, algorithm, "continue_rlista", device, progress, draws=draws, seed=rng)


@documented(**BLOCKS)
def continue_lista(
    data: xr.DataArray | xr.Dataset,
    *,
    beta: float | None = None,
    omega: Any = None,
    stderr: Any = None,
    covariance: Any = None,
    statistics: str = "fermion",
    bins: bool | None = None,
    norm: float | str | None = None,
    sign: int | None = None,
    recipe: str = "trained",
    refine: bool | None = None,
    layers: int = 6,
    training_steps: int | None = None,
    training_seed: int = 0,
    draws: int = 0,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Continue analytically by LISTA, the learned optimizer without relaxation.

    A network [1]_ is trained for exactly these times, ``beta``, ``stderr`` and frequencies, and
    kept in the user's cache. It is meant for comparison: :func:`continue_rlista` needs no training.

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
    {sign}
    recipe : {"trained", "published"}
        As in :func:`continue_rlista`.
    refine : bool, optional
        Refine by maximum entropy. Default: True, except for ``"published"``.
    layers : int
        Depth of the network. LISTA gains little beyond 6.
    {training_steps}
    {training_seed}
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
    .. [1] Huang and Yang, Phys. Rev. B 105, 075112 (2022), eq. 15 and Table II.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> tau, omega = np.linspace(0, 10, 50), np.linspace(-3, 3, 61)
    >>> kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-10 * omega))
    >>> weights = np.exp(-((omega - 1) ** 2) / 0.5)
    >>> g = xr.DataArray(kernel @ weights / weights.sum(), coords={"tau": tau}, dims="tau")
    >>> result = g.S.continue_lista(
    ...     beta=10, stderr=1e-4, omega=omega, training_steps=30
    ... )
    >>> bool(abs(result.spectral_function.idxmax("omega") - 1) < 0.3)
    True
    """
    check_choice("recipe", recipe, LISTA_RECIPES)
    check_count("layers", layers)
    check_count("training_steps", training_steps, optional=True)
    check_count("training_seed", training_seed, least=0)
    check_flag("refine", refine, optional=True)
    source = read_imaginary(
        data,
        dims,
        beta=beta,
        omega=omega,
        stderr=stderr,
        covariance=covariance,
        statistics=statistics,
        bins=bins,
        norm=norm,
        sign=sign,
    )
    _check_trainable(statistics)
    refine = recipe != "published" if refine is None else refine
    training = {"layers": layers, "steps": training_steps, "seed": training_seed}
    algorithm = _trained(source, recipe, 1.0, training, progress, refine)
    return continued(source, algorithm, "continue_lista", device, progress, draws=draws, seed=rng)


def _trained(
    source: ImaginaryData,
    recipe: str,
    eta: float,
    training: Mapping[str, Any],
    progress: ProgressOption,
    refine: bool,
) -> Algorithm:
    from arpes_ml_plugins.continuation.solvers import Trained

    stderr = None
    if source.errors is not None:
        stderr = float(np.median(source.errors))
    elif source.covariance is not None:
        stderr = float(np.median(np.sqrt(np.diagonal(source.covariance, 0, -2, -1))))
    return Trained(
        partial(
            trained_network,
            recipe="robust" if recipe == "trained" else recipe,
            stderr=stderr,
            eta=eta,
            progress=progress,
            **training,
        ),
        refine,
    )


def _check_trainable(statistics: str) -> None:
    if statistics != "fermion":
        raise ParameterError(
            "networks can be trained for fermions only; for bosons use continue_rlista with "
            "recipe='general', or continue_maxent"
        )
