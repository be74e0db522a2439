"""The snippets of the pages that a new user reads first run as they stand."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", pytest.param("docs/first_steps.md", marks=pytest.mark.slow)]


@pytest.mark.pyarpes
@pytest.mark.filterwarnings(  # of real data, whose free components look alike
    "ignore:separate_.*uncertain:arpes_ml_plugins.errors.DistributionWarning"
)
@pytest.mark.parametrize("page", PAGES)
def test_snippets_run(page, examples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snippets = list(Sybil(parsers=[PythonCodeBlockParser()]).parse(ROOT / page).examples())
    assert len(snippets) >= 4
    for snippet in snippets:
        snippet.evaluate()
    plt.close("all")
