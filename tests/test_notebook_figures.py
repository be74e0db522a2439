"""A notebook shows each figure once, however a cell ends, and none stays open."""

from __future__ import annotations

import subprocess
import sys

import pytest

CELLS = {
    "value": "plotting.compare(cut, cut)",
    "assigned": "figure = plotting.loss_curve(losses)",
    "again": "figure",
    "not last": "plotting.draws(samples)\n1 + 1",
    "displayed": "from IPython.display import display\ndisplay(plotting.loss_curve(losses))",
    "two": "plotting.loss_curve(losses)\nplotting.loss_curve(losses)",
    "none": "cut",
}
NOTEBOOK = """
import numpy as np, xarray as xr
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from arpes_ml_plugins import plotting
from arpes_ml_plugins.testing.samples import sample_cut

cut = sample_cut()
samples = cut.expand_dims(draw=3)
losses = xr.Dataset({"loss": ("iteration", np.linspace(2, 1, 5))})
shell = InteractiveShell.instance()
shell.push(dict(plotting=plotting, cut=cut, samples=samples, losses=losses))
# What %matplotlib inline does in a kernel.
import matplotlib.pyplot as plt
from matplotlib_inline.backend_inline import configure_inline_support
plt.switch_backend("module://matplotlib_inline.backend_inline")
configure_inline_support(shell, "module://matplotlib_inline.backend_inline")
plt.ion()
values = []
shell.displayhook.write_format_data = lambda data, metadata=None: values.append(data)

for name, cell in CELLS.items():
    values.clear()
    with capture_output() as shown:
        shell.run_cell(cell).raise_error()
    outputs = [output.data for output in shown.outputs] + values
    images = sum("image/png" in data for data in outputs)
    print(name, images, len(plt.get_fignums()), sep=":")
"""
EXPECTED = dict.fromkeys(CELLS, 1) | {"two": 2, "none": 0}


def test_each_figure_is_shown_once_and_closed():
    pytest.importorskip("matplotlib_inline")
    code = f"CELLS = {CELLS!r}\n{NOTEBOOK}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split(":") for line in done.stdout.splitlines() if line.count(":") == 2]
    assert {name: int(images) for name, images, _ in rows} == EXPECTED
    assert {int(still_open) for *_, still_open in rows} == {0}


def test_elsewhere_a_figure_stays_with_pyplot(cut):
    from matplotlib import pyplot as plt

    from arpes_ml_plugins import plotting

    figure = plotting.compare(cut, cut)
    try:
        assert figure._repr_mimebundle_() == {}
        assert plt.fignum_exists(figure.number)
    finally:
        plt.close(figure)
