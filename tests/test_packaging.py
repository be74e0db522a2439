"""Files that repeat what pyproject.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ON_CONDA_FORGE = {"matplotlib": "matplotlib-base", "torch": "pytorch"}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def recipe():
    file = ROOT / "recipe" / "recipe.yaml"
    if not file.is_file():
        pytest.skip("sdists come without the recipe")
    return yaml.safe_load(file.read_text())


def test_the_recipe_needs_the_same_packages(project, recipe):
    needed = set()
    for requirement in project["dependencies"]:
        name, _, lowest = requirement.partition(">=")
        needed.add(f"{ON_CONDA_FORGE.get(name, name)} >={lowest}")
    python, *packages = recipe["requirements"]["run"]
    assert set(packages) == needed
    assert python == "python >=${{ python_min }}"
    assert project["requires-python"] == f">={recipe['context']['python_min']}"


def test_the_recipe_describes_the_same_package(project, recipe):
    assert recipe["about"]["summary"] == project["description"]
    assert recipe["about"]["license"] == project["license"]
    commands = [f"{name} = {target}" for name, target in project["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == commands


def test_python_versions_are_those_that_are_tested(project):
    tested = [f"3.{minor}" for minor in (11, 12, 13)]
    prefix = "Programming Language :: Python :: 3."
    named = [entry for entry in project["classifiers"] if entry.startswith(prefix)]
    assert [entry.rpartition(" ")[2] for entry in named] == tested
    assert f"PYTHONS = {tested!r}".replace("'", '"') in (ROOT / "noxfile.py").read_text()
