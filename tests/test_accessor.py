"""``.S`` in every order of import, with the real PyARPES; each order in a process of its own."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys

import pytest
import xarray as xr

import arpes_ml_plugins

needs_pyarpes = pytest.mark.skipif(
    importlib.util.find_spec("arpes") is None, reason="PyARPES is not installed"
)

PREAMBLE = """
import sys, warnings
from xarray.core.extensions import AccessorRegistrationWarning
warnings.simplefilter("error", AccessorRegistrationWarning)
import numpy as np, xarray as xr
cut = xr.DataArray(np.random.default_rng(0).poisson(5.0, (20, 20)), dims=("phi", "eV"),
                   coords={"phi": np.linspace(0, 1, 20), "eV": np.linspace(-1, 0, 20)},
                   name="spectrum")
"""
HIDE_PYARPES = "sys.modules['arpes'] = None\n"
CHECK = """
data = cut.to_dataset()
assert type(cut.S.denoise_pcp_unet(iterations=1, rng=0)) is xr.DataArray
assert type(data.S.denoise_pcp_unet(iterations=1, rng=0)) is xr.Dataset
assert type(cut.arpes_ml.decompose_pcp()) is xr.Dataset
assert "denoise_pcp_unet" in dir(cut.S) and "denoise_pcp_unet" in dir(data.S)
"""
PYARPES_WORKS = """
assert type(cut.S).__module__ == "arpes.xarray_extensions"
assert type(data.S).__module__ == "arpes.xarray_extensions"
assert cut.S.is_subtracted is not None and data.S.spectrum.dims == ("phi", "eV")
assert cut.S.short_history() == []
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_pyarpes
@pytest.mark.pyarpes
@pytest.mark.parametrize(
    "order",
    [
        pytest.param("import arpes.xarray_extensions, arpes_ml_plugins", id="after PyARPES"),
        pytest.param(
            "import arpes_ml_plugins, arpes.xarray_extensions",
            id="before PyARPES",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "import arpes.xarray_extensions; cut.S, cut.to_dataset().S; import arpes_ml_plugins",
            id="accessor of PyARPES already used",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "import arpes_ml_plugins; cut.S.decompose_pcp(); import arpes.xarray_extensions",
            id="our accessor already used",
            marks=pytest.mark.slow,
        ),
        pytest.param(  # arpes-lite cannot import arpes.io before arpes.config
            "import arpes_ml_plugins, arpes.config; from arpes.io import load_data",
            id="through arpes.io",
        ),
    ],
)
def test_with_pyarpes(order):
    run(order + CHECK + PYARPES_WORKS)


def test_without_pyarpes():
    run(HIDE_PYARPES + "import arpes_ml_plugins" + CHECK + "assert 'arpes' in repr(cut.S)\n")


@pytest.mark.slow
def test_reloading_is_harmless():
    run(
        HIDE_PYARPES
        + "import importlib, arpes_ml_plugins, arpes_ml_plugins.accessor as a\n"
        + "a.attach(); importlib.reload(arpes_ml_plugins)"
        + CHECK
    )


def test_importing_is_light():
    """Nothing slow is imported with the package (benchmarks/import_time.py measures the time)."""
    run(
        "before = set(sys.modules)\n"
        "import arpes_ml_plugins\n"
        "heavy = {'torch', 'arpes', 'matplotlib', 'scipy', 'dask', 'tqdm', 'sklearn'}\n"
        "assert not heavy & (set(sys.modules) - before), heavy & (set(sys.modules) - before)\n"
    )


def test_a_foreign_attribute_is_not_overwritten():
    out = run(
        HIDE_PYARPES
        + """
@xr.register_dataarray_accessor("S")
class Own:
    def __init__(self, obj): self._obj = obj
    def decompose_pcp(self): return "mine"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import arpes_ml_plugins
print(cut.S.decompose_pcp(), [str(w.message) for w in caught])
cut.S.denoise_pcp_unet(iterations=1)
"""
    )
    assert out.startswith("mine")
    assert "decompose_pcp" in out.split("mine")[1]


def test_signature_on_the_accessor(cut):
    bound = cut.S.denoise_pcp_unet
    parameters = inspect.signature(bound).parameters
    assert "data" not in parameters
    assert "self" not in parameters
    assert parameters["recipe"].default == "robust"
    assert inspect.getdoc(bound).startswith("Denoise a cut")


def test_functions_of_the_module(cut):
    from arpes_ml_plugins import decompose_pcp

    xr.testing.assert_equal(decompose_pcp(cut), cut.pipe(arpes_ml_plugins.decompose_pcp))
    assert "decompose_pcp" in dir(arpes_ml_plugins)
    with pytest.raises(AttributeError, match="denoise_magically"):
        arpes_ml_plugins.denoise_magically  # noqa: B018
