"""``continue_*``: from imaginary time or Matsubara frequencies to real frequencies."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import (
    ConvergenceWarning,
    DataError,
    DistributionWarning,
    ParameterError,
)
from arpes_ml_plugins.labelled.apply import Image, ImageBatch, Output, Scalar, Trace, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.continuation_input import ImaginaryData, check_aligned, read_imaginary
from arpes_ml_plugins.networks.rlista import continuation_network, trained_network
from arpes_ml_plugins.networks.stored import stored_hash
from arpes_ml_plugins.parameters import check_choice, check_count, check_positive

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.answer import Solver

__all__ = ["continue_ista", "continue_lista", "continue_maxent", "continue_rlista"]

BATCH = 500  # data sets at once
RECIPES = ("general", "trained", "published")
LISTA_RECIPES = ("trained", "published")
OUTSIDE = ("maxent", "train")
RULES = ("chi2kink", "classic", "bryan", "historic")
DEFAULT_MODELS = ("flat", "rlista")
PUBLISHED_LAYERS = {"continue_rlista": 10, "continue_lista": 6}


def continue_rlista(
    data: xr.DataArray | xr.Dataset,
    *,
    beta: float | None = None,
    omega: Any = None,
    stderr: Any = None,
    covariance: Any = None,
    statistics: str = "fermion",
    bins: bool | None = None,
    recipe: str = "general",
    refine: bool | None = None,
    outside: str = "maxent",
    layers: int | None = None,
    training_steps: int | None = None,
    training_seed: int = 0,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Analytic continuation by a learned optimizer (RLISTA), refined by maximum entropy.

    A network that was trained on many kinds of spectra, inverse temperatures, time grids and
    errors answers at once. Maximum entropy with this answer as default model then makes it agree
    with the data (RLISTA+), within their errors and no closer.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        ``G(tau)`` of fermions (or a correlation function of bosons) along an axis ``tau``, with
        values of either sign convention, or complex ``G(i w_n)`` along an axis ``iwn``. All other
        dimensions are a batch. NaN is refused.
    beta : float, optional
        Inverse temperature in the unit of ``tau``. Default: a coordinate or attribute ``beta``, or
        ``temperature`` in K where ``tau`` is in 1/eV; Matsubara frequencies tell it themselves.
    omega : array_like or xarray.DataArray, optional
        Real frequencies of the result, ascending, in the inverse unit of ``tau``. Default: 101
        points over the window that the data make most likely (fermions, not lazy).
    stderr : float, array_like or xarray.DataArray, optional
        Standard error of the data: one number, one for each imaginary time, or with dimensions of
        the data. Default: measured from what no spectrum can give, which takes errors to be
        independent and equal; state it if you know it.
    covariance : array_like, optional
        Covariance of the errors, ``(tau, tau)``, instead of ``stderr``.
    statistics : {"fermion", "boson"}
        Bosons: the result is ``A(w) / w``; frequencies from zero up mean an even one.
    bins : bool, optional
        Integrate the kernel over the cells of ``omega``, in which the spectrum is taken as
        constant, or (False) take it at their centres, as the paper does. Default: where ``beta``
        times the widest cell is above 1.5, so that ``exp(-tau w)`` bends within a cell, the
        problem is solved on parts of the cells, and the result is their mean.
    recipe : {"general", "trained", "published"}
        ``"general"``: the network that comes with the package. ``"trained"``: one trained for just
        these times, ``beta``, ``stderr`` and frequencies, a minute on one core, kept in the user's
        cache. ``"published"``: trained as in the paper (raw data, Table I, spectra of eq. 16,
        frequencies scaled to the window), some minutes, kept too.
    refine : bool, optional
        Refine by maximum entropy. Default: yes, but for ``"published"``. Without it the
        answer may miss the data by many standard errors.
    outside : {"maxent", "train"}
        What to do with data outside the range of the general network (bosons, fewer than 20
        times, errors above 2 % of the norm, ``beta`` times the largest frequency outside 4 to
        2400): maximum entropy with a flat default model, or train (fermions). Data unlike all
        spectra of the training go to maximum entropy too; ``status`` says so.
    layers : int, optional
        Depth of a network that is trained; default 10.
    training_steps : int, optional
        Steps of its training; default 4000 (published: 58 650).
    training_seed : int
        A network trained with the same seed for the same kind of data is found in the cache.
    device : str
        ``"auto"`` (CUDA, then CPU; MPS has no float64, which this needs) or a torch device.
    rng : int or torch.Generator, optional
        Not used: trainings have a seed of their own. All methods take it.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The imaginary axis where its name does not tell, ``{"tau": "t"}``.

    Returns
    -------
    xarray.Dataset
        ``spectral_function`` (..., omega), per unit of ``omega``, its axis called ``eV`` where the
        data say that ``tau`` is in 1/eV; ``lower``, ``upper``: 90 % band for the truth at
        each frequency, from the network's posterior; ``back_transform`` (..., tau): the data of the
        result, in the data's sign; ``chi2`` a data point, with the stated errors;
        ``out_of_distribution``: the data do not fit the result, or are unlike the spectra of the
        training; ``status`` in words; ``sign``: 1 for positive data, ``-G(tau)``, and -1 for
        the other convention; ``stderr`` (..., tau): the errors used (complex at Matsubara
        frequencies: those of real and imaginary part).

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        No imaginary axis, times outside ``[0, beta]`` or not ascending, no ``beta``, complex
        ``G(tau)``, errors that are not positive, a covariance that is not positive definite, NaN;
        the message says what to do.

    Warns
    -----
    DistributionWarning
        Some data are outside what the network was trained for, or unlike it.
    ConvergenceWarning
        Maximum entropy did not converge; ``status`` says where.

    References
    ----------
    Huang and Yang, "Learned optimizers for analytic continuation", Phys. Rev. B 105, 075112
    (2022): eq. 15 and Section III F.

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
    """
    check_choice("recipe", recipe, RECIPES)
    check_choice("outside", outside, OUTSIDE)
    check_count("layers", layers, optional=True)
    check_count("training_steps", training_steps, optional=True)
    source = read_imaginary(
        data,
        dims,
        beta=beta,
        omega=omega,
        stderr=stderr,
        covariance=covariance,
        statistics=statistics,
        bins=bins,
    )
    refine = recipe != "published" if refine is None else bool(refine)
    training = {"layers": layers or 10, "steps": training_steps, "seed": training_seed}
    solver: Solver
    if recipe == "general":
        from arpes_ml_plugins.continuation.solvers import Pretrained

        fallback = None
        if outside == "train" and statistics == "fermion":
            fallback = partial(_trained, source, "trained", 0.5, training, progress, refine)
        solver = Pretrained(refine, fallback)
    else:
        _check_trainable(statistics)
        solver = _trained(source, recipe, 0.5, training, progress, refine)
    return _continue(source, solver, "continue_rlista", device, progress)


def continue_lista(
    data: xr.DataArray | xr.Dataset,
    *,
    beta: float | None = None,
    omega: Any = None,
    stderr: Any = None,
    covariance: Any = None,
    statistics: str = "fermion",
    bins: bool | None = None,
    recipe: str = "trained",
    refine: bool | None = None,
    layers: int = 6,
    training_steps: int | None = None,
    training_seed: int = 0,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Analytic continuation by LISTA, the learned optimizer without relaxation.

    A network is trained for just these times, ``beta``, ``stderr`` and frequencies, and kept in
    the user's cache. It is here for comparison: :func:`continue_rlista` answers at once.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        ``G(tau)`` of fermions (or a correlation function of bosons) along an axis ``tau``, with
        values of either sign convention, or complex ``G(i w_n)`` along an axis ``iwn``. All other
        dimensions are a batch. NaN is refused.
    beta : float, optional
        Inverse temperature in the unit of ``tau``. Default: a coordinate or attribute ``beta``, or
        ``temperature`` in K where ``tau`` is in 1/eV; Matsubara frequencies tell it themselves.
    omega : array_like or xarray.DataArray, optional
        Real frequencies of the result, ascending, in the inverse unit of ``tau``. Default: 101
        points over the window that the data make most likely (fermions, not lazy).
    stderr : float, array_like or xarray.DataArray, optional
        Standard error of the data: one number, one for each imaginary time, or with dimensions of
        the data. Default: measured from what no spectrum can give, which takes errors to be
        independent and equal; state it if you know it.
    covariance : array_like, optional
        Covariance of the errors, ``(tau, tau)``, instead of ``stderr``.
    statistics : {"fermion", "boson"}
        Bosons: the result is ``A(w) / w``; frequencies from zero up mean an even one.
    bins : bool, optional
        Integrate the kernel over the cells of ``omega``, in which the spectrum is taken as
        constant, or (False) take it at their centres, as the paper does. Default: where ``beta``
        times the widest cell is above 1.5, so that ``exp(-tau w)`` bends within a cell, the
        problem is solved on parts of the cells, and the result is their mean.
    recipe : {"trained", "published"}
        As for :func:`continue_rlista`.
    refine : bool, optional
        Refine by maximum entropy. Default: yes, but for ``"published"``.
    layers : int
        Depth; LISTA gains little beyond 6.
    training_steps : int, optional
        Steps of the training; default 4000 (published: 58 650).
    training_seed : int
        A network trained with the same seed for the same kind of data is found in the cache.
    device : str
        ``"auto"`` (CUDA, then CPU; MPS has no float64, which this needs) or a torch device.
    rng : int or torch.Generator, optional
        Not used: trainings have a seed of their own. All methods take it.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The imaginary axis where its name does not tell, ``{"tau": "t"}``.

    Returns
    -------
    xarray.Dataset
        ``spectral_function`` (..., omega), per unit of ``omega``, its axis called ``eV`` where the
        data say that ``tau`` is in 1/eV; ``lower``, ``upper``: 90 % band for the truth at
        each frequency, from the network's posterior; ``back_transform`` (..., tau): the data of the
        result, in the data's sign; ``chi2`` a data point, with the stated errors;
        ``out_of_distribution``: the data do not fit the result, or are unlike the spectra of the
        training; ``status`` in words; ``sign``: 1 for positive data, ``-G(tau)``, and -1 for
        the other convention; ``stderr`` (..., tau): the errors used (complex at Matsubara
        frequencies: those of real and imaginary part).

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        No imaginary axis, times outside ``[0, beta]`` or not ascending, no ``beta``, complex
        ``G(tau)``, errors that are not positive, a covariance that is not positive definite, NaN;
        the message says what to do.

    Warns
    -----
    ConvergenceWarning
        Maximum entropy did not converge; ``status`` says where.

    References
    ----------
    Huang and Yang, Phys. Rev. B 105, 075112 (2022), eq. 15 and Table II.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> tau, omega = np.linspace(0, 10, 50), np.linspace(-3, 3, 61)
    >>> kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-10 * omega))
    >>> weights = np.exp(-((omega - 1) ** 2) / 0.5)
    >>> g = xr.DataArray(kernel @ weights / weights.sum(), coords={"tau": tau}, dims="tau")
    >>> result = g.S.continue_lista(
    ...     beta=10, stderr=1e-4, omega=omega, training_steps=100
    ... )
    >>> bool(abs(result.spectral_function.idxmax("omega") - 1) < 0.3)
    True
    """
    check_choice("recipe", recipe, LISTA_RECIPES)
    check_count("layers", layers)
    check_count("training_steps", training_steps, optional=True)
    source = read_imaginary(
        data,
        dims,
        beta=beta,
        omega=omega,
        stderr=stderr,
        covariance=covariance,
        statistics=statistics,
        bins=bins,
    )
    _check_trainable(statistics)
    refine = recipe != "published" if refine is None else bool(refine)
    training = {"layers": layers, "steps": training_steps, "seed": training_seed}
    solver = _trained(source, recipe, 1.0, training, progress, refine)
    return _continue(source, solver, "continue_lista", device, progress)


def continue_maxent(
    data: xr.DataArray | xr.Dataset,
    *,
    beta: float | None = None,
    omega: Any = None,
    stderr: Any = None,
    covariance: Any = None,
    statistics: str = "fermion",
    bins: bool | None = None,
    default_model: str | xr.DataArray = "flat",
    rule: str = "auto",
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Analytic continuation by maximum entropy, for all slices at once.

    Of all spectra that explain the data the one that differs least from a default model; how
    closely the data are followed is settled by ``rule``, for every slice by itself.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        ``G(tau)`` of fermions (or a correlation function of bosons) along an axis ``tau``, with
        values of either sign convention, or complex ``G(i w_n)`` along an axis ``iwn``. All other
        dimensions are a batch. NaN is refused.
    beta : float, optional
        Inverse temperature in the unit of ``tau``. Default: a coordinate or attribute ``beta``, or
        ``temperature`` in K where ``tau`` is in 1/eV; Matsubara frequencies tell it themselves.
    omega : array_like or xarray.DataArray, optional
        Real frequencies of the result, ascending, in the inverse unit of ``tau``. Default: 101
        points over the window that the data make most likely (fermions, not lazy).
    stderr : float, array_like or xarray.DataArray, optional
        Standard error of the data: one number, one for each imaginary time, or with dimensions of
        the data. Default: measured from what no spectrum can give, which takes errors to be
        independent and equal; state it if you know it.
    covariance : array_like, optional
        Covariance of the errors, ``(tau, tau)``, instead of ``stderr``.
    statistics : {"fermion", "boson"}
        Bosons: the result is ``A(w) / w``; frequencies from zero up mean an even one.
    bins : bool, optional
        Integrate the kernel over the cells of ``omega``, in which the spectrum is taken as
        constant, or (False) take it at their centres, as the paper does. Default: where ``beta``
        times the widest cell is above 1.5, so that ``exp(-tau w)`` bends within a cell, the
        problem is solved on parts of the cells, and the result is their mean.
    default_model : {"flat", "rlista"} or xarray.DataArray
        What the spectrum is where the data say nothing. ``"rlista"``: the answer of the general
        network (fermions), which makes this the refinement of :func:`continue_rlista`. An
        array along ``omega`` (and perhaps batch dimensions), positive, is used as it is where it
        has coordinates on the result's grid, else interpolated; its integral is the norm expected.
    rule : {"auto", "chi2kink", "classic", "bryan", "historic"}
        ``"chi2kink"``: stop where following the data closer no longer pays, robust against
        wrong errors; ``"classic"``: most probable strength; ``"bryan"``: average over its
        probability; ``"historic"``: chi^2 equal to the number of data. ``"auto"``: ``"chi2kink"``
        for the flat default model, ``"classic"`` otherwise, which measure best.
    device : str
        ``"auto"`` (CUDA, then CPU; MPS has no float64, which this needs) or a torch device.
    rng : int or torch.Generator, optional
        Not used: the answer is unique. All methods take it.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The imaginary axis where its name does not tell, ``{"tau": "t"}``.

    Returns
    -------
    xarray.Dataset
        ``spectral_function`` (..., omega), per unit of ``omega``, its axis called ``eV`` where the
        data say that ``tau`` is in 1/eV; ``lower``, ``upper``: 90 % band for the truth at
        each frequency, from the network's posterior; ``back_transform`` (..., tau): the data of the
        result, in the data's sign; ``chi2`` a data point, with the stated errors;
        ``out_of_distribution``: the data do not fit the result, or are unlike the spectra of the
        training; ``status`` in words; ``sign``: 1 for positive data, ``-G(tau)``, and -1 for
        the other convention; ``stderr`` (..., tau): the errors used (complex at Matsubara
        frequencies: those of real and imaginary part).

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        No imaginary axis, times outside ``[0, beta]`` or not ascending, no ``beta``, complex
        ``G(tau)``, errors that are not positive, a covariance that is not positive definite, NaN;
        the message says what to do.

    Warns
    -----
    DistributionWarning
        Some data are outside what the network was trained for (``default_model="rlista"``).
    ConvergenceWarning
        Newton's method did not converge; ``status`` says where.

    References
    ----------
    Jarrell and Gubernatis, Phys. Rep. 269, 133 (1996); Bryan, Eur. Biophys. J. 18, 165 (1990);
    Bergeron and Tremblay, Phys. Rev. E 94, 023303 (2016) for ``"chi2kink"``; Huang and Yang,
    Phys. Rev. B 105, 075112 (2022), eq. 6 and Section III F.

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
    check_choice("rule", rule, ("auto", *RULES))
    if not isinstance(default_model, (str, xr.DataArray)):
        raise ParameterError(
            "default_model must be 'flat', 'rlista' or a DataArray along the frequencies of the "
            "result; wrap the array: xarray.DataArray(values, coords={'omega': omega})"
        )
    if isinstance(default_model, str):
        check_choice("default_model", default_model, DEFAULT_MODELS)
    source = read_imaginary(
        data,
        dims,
        beta=beta,
        omega=omega,
        stderr=stderr,
        covariance=covariance,
        statistics=statistics,
        bins=bins,
    )
    from arpes_ml_plugins.continuation.solvers import MaxEnt, Pretrained

    if isinstance(default_model, str) and default_model == "rlista":
        if rule == "auto":
            solver: Solver = Pretrained(True, None)
        else:
            solver = Pretrained(True, None, rule, rule)
        return _continue(source, solver, "continue_maxent", device, progress)
    model = None
    if isinstance(default_model, xr.DataArray):
        model = _default_model(default_model, source)
    chosen = ("chi2kink" if model is None else "classic") if rule == "auto" else rule
    return _continue(source, MaxEnt(chosen, model), "continue_maxent", device, progress)


def continue_ista(
    data: xr.DataArray | xr.Dataset,
    *,
    beta: float | None = None,
    omega: Any = None,
    stderr: Any = None,
    covariance: Any = None,
    statistics: str = "fermion",
    bins: bool | None = None,
    sparsity: float = 1e-4,
    recipe: str = "robust",
    iterations: int = 5000,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Analytic continuation by sparsity alone: basis pursuit, solved by ISTA or FISTA.

    Nothing is learned. The problem is so ill-posed that the answer depends on ``sparsity`` and is
    made of a few sharp peaks; it is here as the baseline that the learned optimizers start from.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        ``G(tau)`` of fermions (or a correlation function of bosons) along an axis ``tau``, with
        values of either sign convention, or complex ``G(i w_n)`` along an axis ``iwn``. All other
        dimensions are a batch. NaN is refused.
    beta : float, optional
        Inverse temperature in the unit of ``tau``. Default: a coordinate or attribute ``beta``, or
        ``temperature`` in K where ``tau`` is in 1/eV; Matsubara frequencies tell it themselves.
    omega : array_like or xarray.DataArray, optional
        Real frequencies of the result, ascending, in the inverse unit of ``tau``. Default: 101
        points over the window that the data make most likely (fermions, not lazy).
    stderr : float, array_like or xarray.DataArray, optional
        Standard error of the data: one number, one for each imaginary time, or with dimensions of
        the data. Default: measured from what no spectrum can give, which takes errors to be
        independent and equal; state it if you know it.
    covariance : array_like, optional
        Covariance of the errors, ``(tau, tau)``, instead of ``stderr``.
    statistics : {"fermion", "boson"}
        Bosons: the result is ``A(w) / w``; frequencies from zero up mean an even one.
    bins : bool, optional
        Integrate the kernel over the cells of ``omega``, in which the spectrum is taken as
        constant, or (False) take it at their centres, as the paper does. Default: where ``beta``
        times the widest cell is above 1.5, so that ``exp(-tau w)`` bends within a cell, the
        problem is solved on parts of the cells, and the result is their mean.
    sparsity : float
        Weight of the l1 norm, for data normalised to a norm of 1 and with errors of equal size: a
        larger one gives fewer peaks and a worse fit.
    recipe : {"robust", "published"}
        ``"robust"``: accelerated (FISTA), non-negative, and stated differences between errors
        are used. ``"published"``: the plain iteration of eq. 13 with unit errors.
    iterations : int
        Stop here at the latest. The optimum itself is not reached in any sensible number, and
        would be worse: stopping early is part of the method.
    device : str
        ``"auto"`` (CUDA, then CPU; MPS has no float64, which this needs) or a torch device.
    rng : int or torch.Generator, optional
        Not used: nothing is random. All methods take it.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The imaginary axis where its name does not tell, ``{"tau": "t"}``.

    Returns
    -------
    xarray.Dataset
        ``spectral_function`` (..., omega), per unit of ``omega``, its axis called ``eV`` where the
        data say that ``tau`` is in 1/eV; ``lower``, ``upper``: 90 % band for the truth at
        each frequency, from the network's posterior; ``back_transform`` (..., tau): the data of the
        result, in the data's sign; ``chi2`` a data point, with the stated errors;
        ``out_of_distribution``: the data do not fit the result, or are unlike the spectra of the
        training; ``status`` in words; ``sign``: 1 for positive data, ``-G(tau)``, and -1 for
        the other convention; ``stderr`` (..., tau): the errors used (complex at Matsubara
        frequencies: those of real and imaginary part).

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        No imaginary axis, times outside ``[0, beta]`` or not ascending, no ``beta``, complex
        ``G(tau)``, errors that are not positive, a covariance that is not positive definite, NaN;
        the message says what to do.

    References
    ----------
    Huang and Yang, Phys. Rev. B 105, 075112 (2022), eqs. 8-13; Beck and Teboulle, SIAM J. Imaging
    Sci. 2, 183 (2009).

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
    )
    from arpes_ml_plugins.continuation.solvers import Ista

    solver = Ista(sparsity, iterations, published=recipe == "published")
    return _continue(source, solver, "continue_ista", device, progress)


def _continue(
    source: ImaginaryData, solver: Solver, method: str, device: str, progress: ProgressOption
) -> xr.Dataset:
    """Run a solver on every slice and dress the answers."""
    from arpes_ml_plugins.continuation.answer import STATUSES

    name = source.omega.dims[0]
    along = Trace(str(name), len(source.omega), "float64", source.omega)
    outputs: dict[str, Output] = {
        "spectral_function": along,
        "lower": along,
        "upper": along,
        "back_transform": Image(),
        "chi2": Scalar(),
        "out_of_distribution": Scalar("bool"),
        "status": Scalar("int64"),
        "sign": Scalar("int64"),
        "stderr": Image(),
    }
    arrays = map_images(
        source.array,
        (source.dim,),
        partial(_algorithm, source=source, solver=solver),
        outputs,
        method=method,
        # MPS has no float64, without which the small singular values are lost.
        device="cpu" if device.startswith("mps") else device,
        progress=progress,
        batch_size=BATCH,
    )
    result = xr.Dataset(arrays)
    # Into the provenance:
    result.attrs["found"] = {
        "beta": source.problem.beta,
        "axis": source.problem.axis,
        "frequencies": [float(source.omega.values[0]), float(source.omega.values[-1])],
        "weights": {"continuation": stored_hash("continuation")},
    }
    result["status"] = xr.apply_ufunc(
        np.array(STATUSES).__getitem__,
        result["status"],
        dask="parallelized",
        output_dtypes=[np.array(STATUSES).dtype],
    )
    _describe(result, source)
    _warn(result, method)
    return result


def _algorithm(batch: ImageBatch, *, source: ImaginaryData, solver: Solver) -> dict[str, Any]:
    import torch

    from arpes_ml_plugins.continuation.answer import answer
    from arpes_ml_plugins.continuation.problem import merged

    if not bool(batch.valid.all()):  # of lazy data only: others are looked at before
        raise DataError("the data hold NaN, which this method does not handle; fill them first")
    device = batch.images.device
    errors = covariance = None
    if source.errors is not None:
        errors = torch.from_numpy(source.errors[batch.index]).to(device)
    if source.covariance is not None:
        covariance = torch.from_numpy(source.covariance).to(device)
    problem = replace(
        source.problem,
        times=source.problem.times.to(device),
        omega=source.problem.omega.to(device),
    )
    network = continuation_network(str(device))
    found = answer(problem, batch.images, errors, covariance, solver, network, batch.index)
    if batch.report:
        batch.report(len(batch.images), None)
    results = {name: getattr(found, name) for name in found.__dataclass_fields__}
    for name in ("spectral_function", "lower", "upper"):
        results[name] = merged(results[name], source.parts)
    return results


def _trained(
    source: ImaginaryData,
    recipe: str,
    eta: float,
    training: Mapping[str, Any],
    progress: ProgressOption,
    refine: bool,
) -> Solver:
    from arpes_ml_plugins.continuation.solvers import Trained

    stderr = None
    if source.errors is not None:
        stderr = float(np.median(source.errors))
    elif source.covariance is not None:
        stderr = float(np.median(np.sqrt(np.diag(source.covariance))))
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
            "networks are trained for fermions only; use continue_maxent for bosons, or "
            "continue_rlista, whose general recipe does so"
        )


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


def _describe(result: xr.Dataset, source: ImaginaryData) -> None:
    unit = source.omega.attrs.get("units")
    for name in ("spectral_function", "lower", "upper"):
        if unit and source.problem.statistics == "fermion":
            result[name].attrs["units"] = f"1/{unit}"
    result["spectral_function"].attrs["long_name"] = "spectral function"
    result["lower"].attrs["long_name"] = "lower end of the 90 % band"
    result["upper"].attrs["long_name"] = "upper end of the 90 % band"
    result["chi2"].attrs["long_name"] = "chi^2 a data point"


def _warn(result: xr.Dataset, method: str) -> None:
    """Say what went wrong; lazy results speak when they are looked at."""
    if result["status"].chunks is not None:
        return
    kinds, numbers = np.unique(result["status"].values, return_counts=True)
    for kind, number in zip(kinds, numbers, strict=True):
        if kind.startswith("ok"):
            continue
        category = ConvergenceWarning if "converged" in kind else DistributionWarning
        warnings.warn(
            f"{method}: {number} of {result['status'].size}: {kind}", category, stacklevel=3
        )
    strange = int((result["out_of_distribution"] & (result["status"] == "ok")).sum())
    if strange:
        warnings.warn(
            f"{method}: {strange} of {result['status'].size} results do not explain their data, or "
            f"the data are unlike those of the training (chi2 up to "
            f"{float(result['chi2'].max()):.3g} a point); check beta, omega and stderr",
            DistributionWarning,
            stacklevel=3,
        )
