"""The command ``arpes-ml``: run any registered method on files."""

from __future__ import annotations

from arpes_ml_plugins.cli.entry import main

__all__ = ["main"]
