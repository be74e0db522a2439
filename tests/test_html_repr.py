"""What ``.arpes_ml`` shows in a notebook, of good results and of attributes of any kind."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from importlib import metadata

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import arpes_ml_plugins
from arpes_ml_plugins.plotting.thumbnail import MOST_PIXELS, thumbnail

VOID = {"img", "br"}


class Page(HTMLParser):
    """Cells of the table rows, and sources of images; refuses what is not well formed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.images: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def __getitem__(self, name):
        return next(row[1] for row in self.rows if row[0] == name)


def page_of(data):
    html = data.arpes_ml._repr_html_()
    assert not {"background", "color:"} & set(html.replace("border-top", "").split('"'))
    return Page(html)


def picture(source):
    kind, _, text = source.partition(",")
    assert kind == "data:image/png;base64"
    return plt.imread(io.BytesIO(base64.b64decode(text)))


@pytest.fixture
def image(rng):
    energy = np.linspace(-1, 1, 30)
    peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    values = 100 * (rng.random((9, 9, 2)) < 0.3) @ peaks + rng.normal(size=(9, 9, 30))
    return xr.DataArray(values, {"eV": energy}, ("y", "x", "eV"))


def test_data_show_the_methods_by_family(cut):
    page = page_of(cut)
    names = [row[0] for row in page.rows]
    assert [n for n in names if n[0].isupper()] == ["Denoising", "Continuation", "Separation"]
    known = arpes_ml_plugins.methods_available()
    assert {row[0]: row[1] for row in page.rows if len(row) == 2} == known
    assert names.index("Denoising") < names.index("remove_mesh") < names.index("Continuation")
    assert len(repr(cut.arpes_ml)) < 600


def test_a_plugin_is_named(cut):
    class Lab:
        @arpes_ml_plugins.hookimpl
        def register_methods(self, registry):
            def shine_brightly(data, *, device="auto", rng=None, progress=False, dims=None):
                """Shine if a < b."""

            registry.add(shine_brightly)

    arpes_ml_plugins.register(Lab(), "lab & co")
    try:
        assert ["shine_brightly", "Shine if a < b. (plugin lab & co)"] in page_of(cut).rows
    finally:
        arpes_ml_plugins.unregister("lab & co")


def test_a_denoised_image_says_why_and_how(cut):
    page = page_of(cut.S.denoise_pretrained(adapt=False, gain=1, rng=7))
    assert page["method"] == "denoise_pretrained"
    assert page["seed"] == "7"
    assert page["gain"] == "1"
    assert page["residual"].endswith(".")
    assert page["version"].startswith(metadata.version("arpes-ml-plugins"))
    (source,) = page.images
    assert picture(source).shape == (190, 260, 4)


def test_a_separation_shows_its_status_and_spectra(image):
    before = plt.get_fignums()
    page = page_of(image.S.separate_palm(n_components=2, rng=0))
    assert page["status"] == "ok"
    assert "median" in page["χ² of the residual"]
    pixels = picture(page.images[0])
    assert (pixels[0, 0, 3], pixels[..., 3].max()) == (0, 1)  # lines on no background
    assert plt.get_fignums() == before


def test_statuses_are_counted():
    result = xr.Dataset({"status": ("k", ["ok"] * 3 + ["<no>"])})
    result.attrs["provenance"] = {"record": {"by": "continue_maxent", "plugin": "arpes_ml_plugins"}}
    assert page_of(result)["status"] == "3 of 4: ok; 1 of 4: <no>"


def test_a_file_read_again_shows_the_same(cut, tmp_path):
    result = cut.S.decompose_pcp(rng=0)
    arpes_ml_plugins.save(result, tmp_path / "a.nc")
    assert page_of(arpes_ml_plugins.load(tmp_path / "a.nc")).rows == page_of(result).rows


def test_lazy_results_are_not_computed(cut):
    pytest.importorskip("dask")
    import dask

    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        page = page_of(cut.chunk().S.decompose_pcp())
    assert page["converged"] == "known when computed"
    assert page.images == []


class Grumpy:
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


MARKUP = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "provenance",
    [
        {"record": {"by": MARKUP, "plugin": MARKUP, "found": {MARKUP: MARKUP}, "axes": 3}},
        {"record": {"by": Grumpy(), "plugin": Grumpy()}},
        {"record": {"by": None, "plugin": None, "found": [1], "parameters": "x", "axes": {}}},
        {"record": {"by": 1, "plugin": 2, "found": {"a": np.ones(3)}, "parameters": {"rng": []}}},
        {"record": ["by", "plugin"]},
        {"record": "by plugin"},
        "{",
        MARKUP,
        Grumpy(),
        None,
        3,
    ],
)
@pytest.mark.parametrize("kind", ["array", "dataset", "words"])
def test_no_attribute_breaks_it(cut, provenance, kind):
    data = {"array": cut, "dataset": cut.to_dataset(), "words": xr.DataArray(["a", "b"])}[kind]
    html = data.assign_attrs(provenance=provenance).arpes_ml._repr_html_()
    assert Page(html).tags <= {"table", "tr", "th", "td", "div", "img", "code", "pre"}
    assert MARKUP not in html


@pytest.mark.parametrize(
    "data",
    [
        xr.DataArray(np.zeros((0, 4)), dims=("phi", "eV")),
        xr.DataArray(np.full((4, 4), np.nan), dims=("phi", "eV")),
        xr.DataArray(["a"], dims="eV"),
        xr.DataArray(1.0),
    ],
)
def test_nothing_to_draw(data):
    assert thumbnail(data) is None


def test_an_image_stands_upright_and_is_not_larger_than_needed():
    energy = np.linspace(0, -1, 3 * MOST_PIXELS)
    data = xr.DataArray(
        np.tile(energy + 1.0, (4, 1)), {"eV": energy}, ("phi", "eV"), name="spectrum"
    )
    page, words = thumbnail(data, ("eV", "phi"))
    pixels = plt.imread(io.BytesIO(page))
    assert words == "spectrum along eV, phi"
    assert pixels[5, 100, :3].sum() > pixels[-5, 100, :3].sum()  # bright at the highest energy
