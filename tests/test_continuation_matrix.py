"""Matrices of Green's functions: positive semidefinite everywhere, and they fit the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from greens import FINE, METHODS, fermi, gauss
from hypothesis import given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.continuation.matrix import nearest_on_cone
from arpes_ml_plugins.continuation.matrix_maxent import _eigh, hermitian_basis, matrix_maxent
from arpes_ml_plugins.continuation.maxent import maxent
from arpes_ml_plugins.errors import AxisError, DataError, DistributionWarning, ParameterError

BETA = 10.0
OMEGA = np.linspace(-3, 3, 46)
TAU = np.linspace(0, BETA, 31)
MATSUBARA = (2 * np.arange(30) + 1) * np.pi / BETA
PEAKS = (
    lambda w: gauss(w, -1.0, 0.3),
    lambda w: 0.4 * gauss(w, 0.2, 0.2) + 0.6 * gauss(w, 1.2, 0.3),
    lambda w: gauss(w, 0.6, 0.4),
)


def matrix(omega, size=2, *, complex_valued=False):
    """Known spectra in a basis of orbitals that is turned against that in which they are diagonal:
    ``(size, size, omega)``.
    """
    rng = np.random.default_rng(5)
    turned = rng.normal(size=(size, size))
    if complex_valued:
        turned = turned + 1j * rng.normal(size=(size, size))
    turned = np.linalg.qr(turned)[0]
    peaks = np.array([peak(omega) for peak in PEAKS[:size]])
    return np.einsum("ia,aw,ja->ijw", turned, peaks, turned.conj())


def green(size=2, *, sigma=1e-4, seed=0, axis="tau", negative=False, **options):
    """Noisy elements, all of them independent: ``-G(tau)`` or ``G(i w_n)``."""
    at = TAU if axis == "tau" else MATSUBARA
    at = np.concatenate([-at[::-1], at]) if negative else at
    kernel = fermi(at, FINE, BETA) if axis == "tau" else 1 / (1j * at[:, None] - FINE)
    spectra = matrix(FINE, size, **options)
    clean = np.einsum("tw,ijw->ijt", kernel, spectra) * (FINE[1] - FINE[0])
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=clean.shape) * (1 + 0j)
    noise = noise + 1j * rng.normal(size=clean.shape) if np.iscomplexobj(clean) else noise.real
    return xr.DataArray(clean + sigma * noise, coords={axis: at}, dims=["i", "j", axis])


def hermitian(spectra):
    """``(..., omega, i, j)``, after the checks that every result has to pass."""
    found = spectra.transpose(..., "omega", "i", "j").values
    np.testing.assert_allclose(found, found.swapaxes(-1, -2).conj(), atol=1e-14)
    values = np.linalg.eigvalsh(found)
    assert (values >= -1e-12 * values.max()).all()
    size = np.sqrt(np.diagonal(found, 0, -2, -1).real.clip(0))
    assert (np.abs(found) <= size[..., :, None] * size[..., None, :] * (1 + 1e-9) + 1e-12).all()
    return found


def missed(result, truth):
    """Integrals of the error over those of the diagonal, 1."""
    found = hermitian(result.spectral_function)
    return np.abs(found - truth.transpose(2, 0, 1)).sum(0).max() * (OMEGA[1] - OMEGA[0])


@pytest.mark.parametrize("method", METHODS)
def test_two_orbitals(method):
    run = getattr(arpes_ml_plugins, method)
    result = run(green(), beta=BETA, stderr=1e-4, omega=OMEGA, orbitals=("i", "j"))
    assert missed(result, matrix(OMEGA)) < 0.12
    assert (result.status == "ok").all()
    assert float(result.chi2.max()) < 1.5
    assert result.spectral_function.dims == ("i", "j", "omega")
    assert result.back_transform.dims == ("i", "j", "tau")
    truth = matrix(OMEGA)
    inside = (truth >= result.lower.values) & (truth <= result.upper.values)
    assert inside[np.abs(truth) > 0.01 * truth.max()].mean() > 0.85
    # One by one the elements leave the cone, which the result tells of.
    assert 0.001 < float(result.violation.integrate("omega")) < 0.5


def test_the_matrix_helps_its_elements():
    """Elements one by one are further from the truth, and no matrix of spectra."""
    g, options = green(sigma=1e-3), {"beta": BETA, "stderr": 1e-3, "omega": OMEGA}
    truth = matrix(OMEGA)
    whole = g.S.continue_maxent(orbitals=("i", "j"), **options).spectral_function.values
    single = g[0, 1].S.continue_maxent(signed=True, **options).spectral_function.values
    errors = [np.abs(found - truth[0, 1]).sum() for found in (whole[0, 1], single)]
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize(("axis", "negative"), [("tau", False), ("iwn", False), ("iwn", True)])
def test_complex_elements(axis, negative):
    size = 3 if axis == "tau" else 2
    g = green(size, axis=axis, negative=negative, complex_valued=True)
    result = g.S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA, orbitals=("i", "j"))
    assert result.spectral_function.dtype.kind == "c"
    assert missed(result, matrix(OMEGA, size, complex_valued=True)) < 0.2
    assert float(result.chi2.max()) < 1.5
    back = result.back_transform
    assert float(abs(back - g.sel({axis: back[axis]})).max()) < 6e-4
    assert (result.lower.real <= result.spectral_function.real).all()
    assert (result.upper.imag >= result.spectral_function.imag).all()
    # Independent elements and their conjugates: the mean has the smaller error.
    beside = float(result.stderr.sel(i=0, j=1).real.mean())
    own = float(result.stderr.sel(i=0, j=0).real.mean())
    assert beside == pytest.approx(own if axis == "iwn" else own / 2**0.5, rel=1e-6)


def test_a_symmetric_matrix_at_matsubara_frequencies_is_real():
    g = green(axis="iwn")
    g = (g + g.rename(i="j", j="i").transpose("i", "j", "iwn")) / 2
    result = g.S.continue_maxent(stderr=1e-4, omega=OMEGA, orbitals=("i", "j"))
    assert result.spectral_function.dtype.kind == "f"
    assert missed(result, matrix(OMEGA)) < 0.15


def test_bands_beside_the_diagonal_hold_where_the_data_decide_little():
    """Three orbitals with quasiparticles and Hubbard bands; the posterior's bands held a half."""
    rng = np.random.default_rng(9)
    tau, omega, fine = np.linspace(0, 20, 61), np.linspace(-4, 4, 65), np.linspace(-5, 5, 2501)
    kernel, sigma, truths, clean = fermi(tau, fine, 20.0), 1e-3, [], []
    for _ in range(5):
        places = rng.uniform(-0.3, 0.3, 3), rng.uniform(-2, -1, 3), rng.uniform(1, 2, 3)
        turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]

        def spectra(w, places=places, turned=turned):
            shares = (0.25, places[0], 0.15), (0.375, places[1], 0.5), (0.375, places[2], 0.5)
            own = sum(share * gauss(w, at[:, None], width) for share, at, width in shares)
            return np.einsum("ia,aw,ja->ijw", turned, own, turned)

        truths.append(spectra(omega))
        clean.append(np.einsum("tw,ijw->ijt", kernel, spectra(fine)) * (fine[1] - fine[0]))
    noise = sigma * rng.normal(size=np.shape(clean))
    data = xr.DataArray(clean + noise, coords={"tau": tau}, dims=["k", "i", "j", "tau"])
    result = data.S.continue_rlista(beta=20, stderr=sigma, orbitals=("i", "j"), omega=omega)
    assert (result["status"] == "ok").all()
    truth = np.array(truths)
    counted = abs(truth) > 0.01 * abs(truth).max(-1, keepdims=True)
    order = ("k", "i", "j", "omega")
    lower, upper = (result[name].transpose(*order).values for name in ("lower", "upper"))
    inside = (truth >= lower) & (truth <= upper)
    held = [inside[:, i, j][counted[:, i, j]].mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert np.mean(held) > 0.85
    assert min(held) > 0.75


def test_batches_signs_labels_and_lazy_data():
    """Dimensions in any order; each matrix as if it were alone; symmetric ones are copies."""
    g = xr.concat([green(seed=seed, sigma=1e-3) for seed in range(2)], "k")
    g = ((g + g.rename(i="j", j="i").transpose(*g.dims)) / 2).transpose("i", "k", "j", "tau")
    g = -g.assign_coords(i=["xz", "yz"], j=["xz", "yz"], k=[0.1, 0.2])
    options = {"beta": BETA, "stderr": 1e-3, "omega": OMEGA, "orbitals": ("i", "j")}
    result = g.S.continue_maxent(**options)
    assert result.spectral_function.dims == ("i", "k", "j", "omega")
    assert list(result.i.values) == ["xz", "yz"]
    assert (result.sign == -1).all()
    hermitian(result.spectral_function)
    alone = g.isel(k=[1]).S.continue_maxent(**options)
    np.testing.assert_allclose(
        alone.spectral_function, result.spectral_function.isel(k=[1]), atol=1e-6
    )
    lazy = g.chunk(k=1, i=1).S.continue_maxent(**options)
    assert lazy.spectral_function.chunks is not None
    np.testing.assert_allclose(lazy.spectral_function, result.spectral_function, atol=1e-6)
    assert (lazy.status == "ok").all()


def test_errors_in_every_form():
    """One number, numbers by element, and covariances give the same."""
    g, options = green(sigma=1e-3), {"beta": BETA, "omega": OMEGA, "orbitals": ("i", "j")}
    plain = g.S.continue_maxent(stderr=1e-3, **options).spectral_function
    ones = xr.DataArray(np.full((2, 2), 1e-3), dims=["j", "i"])
    square = np.eye(len(TAU)) * 1e-6
    forms = (
        {"stderr": ones},
        {"covariance": np.broadcast_to(square, (2, 2, *square.shape))},
    )
    for form in forms:
        found = g.S.continue_maxent(**form, **options).spectral_function
        np.testing.assert_allclose(found, plain, atol=1e-6)


def test_matrices_with_errors_of_their_own_are_as_if_alone():
    sizes = xr.DataArray(1e-3 * np.array([1.0, 0.6, 2.0]), dims="k")
    found = [green(seed=k, sigma=float(s), complex_valued=True) for k, s in enumerate(sizes)]
    g = xr.concat(found, "k")
    options = {"beta": BETA, "omega": OMEGA, "orbitals": ("i", "j")}
    result = g.S.continue_maxent(stderr=sizes, **options).spectral_function
    hermitian(result)
    alone = g.isel(k=1).S.continue_maxent(stderr=float(sizes[1]), **options).spectral_function
    np.testing.assert_allclose(result.isel(k=1), alone, atol=1e-5 * float(abs(alone).max()))


def test_monte_carlo_bins():
    rng = np.random.default_rng(2)
    scatter = 1e-3 * rng.normal(size=(100, 2, 2, len(TAU)))
    bins = green(sigma=0) + xr.DataArray(scatter, dims=["bin", "i", "j", "tau"])
    result = bins.S.continue_maxent(beta=BETA, omega=OMEGA, orbitals=("i", "j"))
    assert result.spectral_function.dims == ("i", "j", "omega")
    assert missed(result, matrix(OMEGA)) < 0.2


def test_moments_are_matrices():
    """The first moment is the bare Hamiltonian; numbers are those of the diagonal."""
    g, fine = green(sigma=1e-2), matrix(FINE) * (FINE[1] - FINE[0])
    bare = xr.DataArray((fine * FINE).sum(-1), dims=["i", "j"])
    zeroth = xr.DataArray(np.eye(2), dims=["i", "j"])
    options = {"beta": BETA, "stderr": 1e-2, "omega": OMEGA, "orbitals": ("i", "j")}
    found = g.S.continue_maxent(moments=[zeroth, bare], **options).spectral_function
    hermitian(found)
    step = OMEGA[1] - OMEGA[0]
    np.testing.assert_allclose((found * found.omega).sum("omega") * step, bare, atol=2e-3)
    plain = g.S.continue_maxent(moments=[1.0], **options).spectral_function
    np.testing.assert_allclose(np.diag(plain.sum("omega") * step), [1, 1], atol=2e-3)


@pytest.mark.filterwarnings("ignore:continue_maxent.* (does not explain|lies beyond)")
def test_a_matrix_that_is_none_is_told_of():
    """Elements beside the diagonal that are too large for it: no spectra have them."""
    large = xr.DataArray([[1, 3], [3, 1]], dims=["i", "j"])
    g = green(sigma=0) * large + (green() - green(sigma=0))
    with pytest.warns(DistributionWarning, match="no positive semidefinite matrix"):
        result = g.S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA, orbitals=("i", "j"))
    hermitian(result.spectral_function)
    assert result.out_of_distribution.any()


def test_nothing_but_noise_stays_nothing():
    """Of an element that is zero the noise is not fitted: alone, or in a matrix."""
    rng = np.random.default_rng(0)
    kernel = fermi(TAU, FINE, BETA)
    own = kernel @ PEAKS[0](FINE) * (FINE[1] - FINE[0])
    g = xr.DataArray(np.zeros((2, 2, len(TAU))), coords={"tau": TAU}, dims=["i", "j", "tau"])
    g[0, 0], g[1, 1] = own, own
    g = g + 1e-3 * rng.normal(size=g.shape)
    options = {"beta": BETA, "stderr": 1e-3, "omega": OMEGA}
    whole = g.S.continue_maxent(orbitals=("i", "j"), **options).spectral_function[0, 1]
    single = g[0, 1].S.continue_maxent(signed=True, **options).spectral_function
    for found in (whole, single):
        assert float(abs(found).integrate("omega")) < 0.1


@pytest.mark.filterwarnings("ignore:continue_maxent")
def test_bosons_and_even_spectra():
    """Correlation functions of two operators; with imaginary parts they are not even."""
    tau = np.linspace(0, BETA, 41)
    omega, step = np.linspace(-3, 3, 601, retstep=True)
    spectra = matrix(omega) + matrix(-omega)
    x = np.where(omega == 0, 1e-9, omega)
    kernel = (
        x
        * fermi(tau, x, BETA)
        * (1 + np.exp(-BETA * np.abs(x)))
        / np.abs(np.expm1(-BETA * np.abs(x)))
    )
    kernel = np.abs(kernel)
    g = xr.DataArray(
        np.einsum("tw,ijw->ijt", kernel, spectra) * step,
        coords={"tau": tau},
        dims=["i", "j", "tau"],
    )
    options = {"beta": BETA, "statistics": "boson", "stderr": 1e-4, "orbitals": ("i", "j")}
    result = g.S.continue_maxent(omega=np.linspace(0, 3, 31), **options)
    hermitian(result.spectral_function)
    assert float(result.chi2.max()) < 1.5
    turned = g.astype(complex)
    turned[0, 1] += 0.01j
    turned[1, 0] -= 0.01j
    with pytest.raises(DataError, match="imaginary parts, whose spectra are not even"):
        turned.S.continue_maxent(omega=np.linspace(0, 3, 31), **options)


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        (lambda g: g, {"orbitals": "ij"}, ParameterError, "two dimensions of the matrix"),
        (lambda g: g, {"orbitals": ("i", "k")}, ParameterError, "two of the dimensions"),
        (lambda g: g, {"orbitals": ("i", "i")}, ParameterError, "two of the dimensions"),
        (lambda g: g, {"orbitals": ("i", "tau")}, ParameterError, "two of the dimensions"),
        (lambda g: g.isel(j=[0]), {}, DataError, "must be square"),
        (lambda g: g.assign_coords(i=["a", "b"], j=["b", "a"]), {}, AxisError, "same order"),
        (lambda g: g * xr.DataArray([[1, 1], [-1, 1]], dims=["i", "j"]), {}, DataError, "Hermit"),
        (
            lambda g: g * xr.DataArray([[1, 1], [-1, 1]], dims=["i", "j"]),
            {"stderr": None},
            DataError,
            "Hermit",
        ),
        (lambda g: g + 0.1j, {}, DataError, "Hermit"),
        (lambda g: g, {"signed": True}, ParameterError, "signed"),
        (lambda g: g, {"preblur": 0.1}, ParameterError, "preblur"),
        (lambda g: g, {"draws": 4}, ParameterError, "draws"),
        (
            lambda g: g,
            {"covariance": np.ones((3, 31, 31)), "stderr": None},
            ParameterError,
            "every slice and element",
        ),
        (
            lambda g: g,
            {"stderr": xr.DataArray(np.full(3, 1e-4), dims=["i"])},
            ParameterError,
            "orbitals",
        ),
    ],
)
def test_what_is_no_matrix(change, options, error, words):
    options = {"beta": BETA, "stderr": 1e-4, "orbitals": ("i", "j"), **options}
    with pytest.raises(error, match=words):
        change(green()).S.continue_maxent(omega=OMEGA, **options)


def test_networks_need_the_matrix_as_a_whole():
    for wrong in ({"recipe": "trained"}, {"refine": False}):
        with pytest.raises(ParameterError, match="matrix as a whole"):
            green().S.continue_rlista(beta=BETA, omega=OMEGA, orbitals=("i", "j"), **wrong)


@pytest.fixture(scope="module")
def whitened():
    """Kernel and data of 3 x 2 elements, in units of their errors."""
    kernel = torch.from_numpy(fermi(TAU, OMEGA, BETA) * 1e3)
    g = green(sigma=1e-3).values * 1e3
    return kernel, [torch.from_numpy(g[i, j][None]) for i, j in ((0, 0), (1, 1), (0, 1))]


@pytest.mark.parametrize("rule", ["classic", "chi2kink", "historic"])
def test_one_orbital_is_plain_maximum_entropy(whitened, rule):
    kernel, (data, *_) = whitened
    flat = torch.full((1, len(OMEGA)), 1 / len(OMEGA), dtype=torch.float64)
    plain = maxent(kernel, data, flat, rule=rule)
    found = matrix_maxent(
        [kernel], [data], flat[..., None, None], hermitian_basis(1, False), rule=rule
    )
    torch.testing.assert_close(found.elements[:, 0], plain.spectrum, rtol=1e-2, atol=1e-5)
    torch.testing.assert_close(found.deviation[:, 0], plain.deviation, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("complex_valued", [False, True])
def test_orbitals_may_be_turned(whitened, complex_valued):
    """Data of equal errors in another basis of the orbitals give the same matrix, turned."""
    kernel, (first, second, beside) = whitened
    flat = torch.eye(2, dtype=torch.float64).expand(1, len(OMEGA), 2, 2) / len(OMEGA)
    basis = hermitian_basis(2, complex_valued)
    matrices = torch.stack([torch.stack([first, beside]), torch.stack([beside, second])])
    angle = 0.6
    turn = torch.tensor(
        [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=basis.dtype
    )
    if complex_valued:
        turn = turn @ torch.diag(torch.tensor([1, np.exp(0.7j)]))
    turned = torch.einsum("ia,abkm,jb->ijkm", turn, matrices.to(turn), turn.conj())

    def solved(values):
        parts = [values[0, 0].real, values[1, 1].real, values[0, 1].real]
        parts += [values[0, 1].imag] if complex_valued else []
        # Elements beside the diagonal count twice in a trace.
        scale = [1, 1, *[2**0.5] * (len(parts) - 2)]
        kernels = [kernel * each for each in scale]
        data = [part * each for part, each in zip(parts, scale, strict=True)]
        elements = matrix_maxent(kernels, data, flat, basis).elements[0]
        upper = elements[2] + (1j * elements[3] if complex_valued else 0)
        rows = [
            torch.stack([elements[0] + 0 * upper, upper]),
            torch.stack([upper.conj(), elements[1] + 0 * upper]),
        ]
        return torch.stack(rows)

    expected = torch.einsum("ia,abw,jb->ijw", turn, solved(matrices.to(turn)), turn.conj())
    torch.testing.assert_close(solved(turned), expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(2, 4), st.booleans(), st.integers(0, 1000))
def test_the_cone(size, complex_valued, seed):
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex128 if complex_valued else torch.float64
    root = torch.randn(5, size, size, generator=generator, dtype=dtype)
    inside = root @ root.mH
    kept, none = nearest_on_cone(inside)
    torch.testing.assert_close(kept, inside)
    assert (none < 1e-9).all()
    diagonal = inside.diagonal(dim1=-2, dim2=-1)
    outside = torch.diag_embed(diagonal) + 3 * (inside - torch.diag_embed(diagonal))
    found, violation = nearest_on_cone(outside)
    assert (torch.linalg.eigvalsh(found) > -1e-9 * diagonal.real.amax()).all()
    torch.testing.assert_close(found.diagonal(dim1=-2, dim2=-1), diagonal)
    values = torch.linalg.eigvalsh(outside)
    torch.testing.assert_close(violation, -values.clamp(max=0).sum(-1))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.booleans(), st.integers(0, 1000), st.sampled_from([1.0, 1e-9, 0.0]))
def test_eigenvectors_in_closed_form(complex_valued, seed, beside):
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex128 if complex_valued else torch.float64
    matrices = torch.randn(7, 2, 2, generator=generator, dtype=dtype)
    matrices = matrices + matrices.mH
    matrices[:, 0, 1] *= beside
    matrices[:, 1, 0] *= beside
    values, vectors = _eigh(matrices)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(matrices))
    again = (vectors * values[:, None].to(dtype)) @ vectors.mH
    torch.testing.assert_close(again, matrices)
