"""Writes figures and screenshots as small PNGs: few colours, the same bytes each time."""

import io
import sys
from pathlib import Path

from PIL import Image

from hpo.report.figures import canvas


def save(figure, name, *, folder=Path(__file__).parent, width=None, colours=64):
    """Write a matplotlib figure to FOLDER/NAME.png, scaled to a width in pixels if one is given."""
    png, _ = canvas.save(figure)
    picture = Image.open(io.BytesIO(png))
    if width:
        picture = picture.convert("RGB").resize(
            (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
        )
    small(picture, name, folder=folder, colours=colours)


def small(picture, name, *, folder=Path(__file__).parent, colours=64):
    """Write a picture to FOLDER/NAME.png."""
    path = folder / f"{name}.png"
    picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", file=sys.stderr)
