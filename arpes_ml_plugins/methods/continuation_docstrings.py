"""Blocks of docstrings that the methods of analytic continuation share."""

from __future__ import annotations

__all__ = ["BLOCKS"]

BLOCKS = {
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
"""Blocks of docstrings, for ``parameters.documented``."""
