"""Sphinx configuration."""

from __future__ import annotations

import os
import sys
import warnings
from importlib import metadata
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
warnings.filterwarnings("ignore", message="Could not find local configuration file")
sys.path.insert(0, os.path.abspath("."))
import figures
import thumbnails

project = "arpes_ml_plugins"
author = "The arpes_ml_plugins developers"
copyright = author
release = metadata.version("arpes-ml-plugins")

extensions = [
    "llms_txt",
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "example_plugin", "_templates", "auto_examples/*.py.md5"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"arpes_ml_plugins {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
templates_path = ["_templates"]

autodoc_typehints = "none"
numpydoc_show_class_members = False
add_module_names = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "download_all_examples": False,
    "abort_on_example_error": True,
    "show_memory": False,
    "parallel": 2,
    "within_subsection_order": "gallery_order.EasyFirst",
    "capture_repr": ("_repr_html_",),
    "remove_config_comments": True,
}
suppress_warnings = ["config.cache"]


def setup(app: Any) -> None:
    """Figures of the measured tables and thumbnails are drawn before the pages are read."""
    app.connect("builder-inited", figures.draw_all)
    app.connect("builder-inited", thumbnails.draw_all, priority=900)  # after sphinx-gallery
