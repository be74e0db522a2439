"""Thumbnails of the gallery that can be read: one or two panels of a figure of each page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

__all__ = ["PANELS", "draw_all"]

PANELS = {
    "denoise_cut": (2, 0.0, 0.0, 0.63, 0.33),
    "fermi_map": (1, 0.0, 0.0, 0.665, 1.0),
    "mesh": (1, 0.25, 0.0, 0.755, 1.0),
    "fit_errors": (1, 0.0, 0.0, 0.5, 1.0),
    "gap": (2, 0.485, 0.0, 1.0, 1.0),
    "two_stage": (3, 0.0, 0.0, 0.63, 0.33),
    "continuation": (1, 0.0, 0.0, 0.3, 1.0),
    "self_energy": (1, 0.49, 0.0, 1.0, 1.0),
    "separation": (5, 0.0, 0.11, 0.48, 1.0),
    "series": (1, 0.0, 0.11, 0.48, 1.0),
    "charging": (4, 0.0, 0.0, 0.33, 1.0),
}
"""Number of the figure, and left, top, right and bottom of the part that is shown, as fractions."""
SIZE = (400, 280)
WHITE = (255, 255, 255)


def draw_all(app: Any) -> None:
    """Replace the thumbnails of sphinx-gallery, which are whole figures, too small to read."""
    images = Path(app.srcdir) / "auto_examples" / "images"
    for name, (number, *part) in PANELS.items():
        figure = images / f"sphx_glr_plot_{name}_{number:03}.png"
        thumbnail = images / "thumb" / f"sphx_glr_plot_{name}_thumb.png"
        if figure.exists():  # not if the gallery is switched off
            panels(figure, *part).save(thumbnail)


def panels(figure: Path, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """The part of a figure, on white."""
    with Image.open(figure) as image:
        width, height = image.size
        box = [round(x) for x in (left * width, top * height, right * width, bottom * height)]
        return ImageOps.pad(image.convert("RGB").crop(tuple(box)), SIZE, color=WHITE)
