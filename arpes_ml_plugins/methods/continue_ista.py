"""``continue_ista``: continue analytically by sparsity alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.continuation_docstrings import BLOCKS
from arpes_ml_plugins.methods.continuation_input import read_imaginary
from arpes_ml_plugins.methods.continuation_run import continued
from arpes_ml_plugins.parameters import check_choice, check_count, check_positive, documented

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["continue_ista"]


@documented(**BLOCKS)
def continue_ista(
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
    even: bool = False,
    basis: Any = None,
    sparsity: float = 1e-4,
    recipe: str = "robust",
    iterations: int = 5000,
    draws: int = 0,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Continue analytically by sparsity alone: basis pursuit, solved by ISTA or FISTA.

    Nothing is learned. The problem is so ill-posed that the result depends on ``sparsity`` and
    consists of a few sharp peaks [1]_. It is the baseline that the learned optimizers improve on.

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
    {even}
    {basis}
    sparsity : float
        Weight of the l1 norm, for data normalised to a norm of 1 and with errors of equal size.
        Larger values give fewer peaks and a worse fit.
    recipe : {"robust", "published"}
        ``"robust"``: accelerated (FISTA [2]_) and non-negative, with the stated errors as weights.
        ``"published"``: the plain iteration of [1]_, eq. 13, with unit errors.
    iterations : int
        Upper limit on the iterations. Few are enough to explain the data; the optimum itself takes
        very many and is a worse spectrum, so stopping early is part of the method. ``status``
        reports slices in which the optimum was not reached.
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
    .. [1] Huang and Yang, Phys. Rev. B 105, 075112 (2022), eqs. 8-13.
    .. [2] Beck and Teboulle, SIAM J. Imaging Sci. 2, 183 (2009).

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> tau, omega = np.linspace(0, 10, 50), np.linspace(-3, 3, 61)
    >>> kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-10 * omega))
    >>> weights = np.exp(-((omega - 1) ** 2) / 0.5)
    >>> g = xr.DataArray(kernel @ weights / weights.sum(), coords={"tau": tau}, dims="tau")
    >>> result = g.S.continue_ista(beta=10, stderr=1e-4, omega=omega)
    >>> bool(abs(result.spectral_function.idxmax("omega") - 1) < 0.3)
    True
    """
    check_positive("sparsity", sparsity)
    check_choice("recipe", recipe, ("robust", "published"))
    check_count("iterations", iterations)
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
        even=even,
        basis=basis,
    )
    from arpes_ml_plugins.continuation.solvers import Ista

    algorithm = Ista(sparsity, iterations, published=recipe == "published")
    return continued(source, algorithm, "continue_ista", device, progress, draws=draws, seed=rng)
