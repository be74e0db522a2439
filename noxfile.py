"""Checks in fresh environments: ``nox`` runs those that need nothing but a package index.

Environments are made by uv (``pip install 'nox[uv]'``). On Linux, ``UV_TORCH_BACKEND=cpu nox``
installs CPU builds of torch. Words after ``--`` go to pytest instead of the whole suite::

    nox --session tests-3.12 -- tests/test_files.py
"""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv"

PYTHONS = ["3.11", "3.12", "3.13"]
EXTRAS = ["pyarpes", "test", "lint", "docs", "bench"]
# Its metadata say Python 3.8, though it runs on 3.11 and later: uv ignores upper bounds.
PYARPES = "arpes==3.0.1"
FORK = "arpes @ git+https://github.com/arafune/arpes"
# Of the tests, those that other packages can change: the accessor, axes, files, metadata.
BESIDE_OTHERS = ["test_accessor.py", "test_axes.py", "test_files.py", "test_missing.py"]


def pytest(session: nox.Session, *files: str) -> None:
    """Run what the words after ``--`` say, or else the files, or the whole suite."""
    chosen = session.posargs or [*files, "-m", "not slow"]
    session.run("python", "-m", "pytest", *chosen, env={"OMP_NUM_THREADS": "1"})


def pytest_beside(session: nox.Session) -> None:
    """Run the tests that another package in the environment can change."""
    pytest(session, *(f"tests/{name}" for name in BESIDE_OTHERS))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Test with PyARPES 3.0.1 and the versions that constraints.txt lists."""
    session.install("--constraint", "constraints.txt", "--editable", ".[pyarpes,test]")
    session.install("--no-deps", PYARPES)
    pytest(session)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Test with the lowest version of every dependency that pyproject.toml allows."""
    # Other packages are the newest, but xarray of this age works with pandas of its time.
    session.install("--resolution", "lowest-direct", "--editable", ".[test]", "pandas>=2.2,<3")
    pytest(session)


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    """Test with the newest version of every dependency, and PyARPES 3.0.1."""
    session.install("--editable", ".[pyarpes,test]")
    session.install("--no-deps", PYARPES)
    pytest(session)


@nox.session(python="3.11")
def without_pyarpes(session: nox.Session) -> None:
    """Test with the package's own ``.S``."""
    session.install("--constraint", "constraints.txt", "--editable", ".[test]")
    pytest(session)


@nox.session(python="3.13")
def arpes_lite(session: nox.Session) -> None:
    """Test beside arpes-lite, which provides the module ``arpes`` too."""
    session.install("--editable", ".[test]", "arpes-lite")
    pytest_beside(session)


@nox.session(python="3.12", default=False)
def arpes_fork(session: nox.Session) -> None:
    """Test beside arafune's fork of PyARPES, which needs git and GitHub."""
    session.install("--editable", ".[test]", FORK)
    pytest_beside(session)


@nox.session(python="3.12")
def erlab(session: nox.Session) -> None:
    """Test beside erlab."""
    session.install("--editable", ".[test]", "erlab")
    pytest_beside(session)


@nox.session(python="3.12")
def peaks(session: nox.Session) -> None:
    """Test beside peaks, whose values carry units."""
    session.install("--editable", ".[test]", "peaks-arpes")
    pytest_beside(session)


@nox.session(python="3.11")
@nox.parametrize("extra", EXTRAS)
def extras(session: nox.Session, extra: str) -> None:
    """Install each extra by itself, and import the package."""
    session.install(f".[{extra}]")
    session.run("uv", "pip", "check", external=True)
    session.run("python", "-P", "-c", "import arpes_ml_plugins")


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    """Run ruff, mypy and the import contracts; ask mypy and pyright what editors would show."""
    session.install(
        "--constraint", "constraints.txt", "--editable", ".[lint,test]", "pyright[nodejs]"
    )
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("python", "-m", "pytest", "tests/test_editors.py")


@nox.session(python="3.11")
def docs(session: nox.Session) -> None:
    """Build the documentation, with its examples executed."""
    session.install("--constraint", "constraints.txt", "--editable", ".[pyarpes,docs]")
    session.install("--no-deps", PYARPES)
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "docs", "docs/_build/html")


@nox.session(python="3.11")
def build(session: nox.Session) -> None:
    """Build the sdist and, from it, the wheel, in dist; check both; use the wheel."""
    session.install("build[uv]", "check-wheel-contents", "pyroma", "twine")
    session.run("python", "-m", "build", "--installer", "uv")
    version = nox.project.load_toml()["project"]["version"]
    sdist, wheel = (
        f"dist/arpes_ml_plugins-{version}{end}" for end in (".tar.gz", "-py3-none-any.whl")
    )
    session.run("twine", "check", "--strict", sdist, wheel)
    session.run("check-wheel-contents", wheel)
    session.run("pyroma", "--min", "8", ".")  # 10 with the addresses that pyproject.toml lacks
    session.install(wheel)
    session.chdir(session.create_tmp())  # where the package is not the folder of this repository
    session.run("arpes-ml", "--help")
    session.run("python", "-c", TRY)


TRY = """
import arpes_ml_plugins as a
counts = a.simulate_scene((64, 64), counts=3, rng=0)
print(counts.S.denoise_pretrained(adapt=False).sizes)
"""
