"""Matplotlib set up once: the look, the palette, and figures as bytes that are the same every time.

The object-oriented interface alone is used: no pyplot, no global figures. Text is never parsed as mathematics, since
labels come from study files.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from hpo.core.parameters import Categorical, Parameter

PURPLE = "#7a1fa2"  # the best lineage, and nothing else
MEMBER = "#7d96ad"
INK = "#222222"
FAINT = "#c9ced4"
#: Okabe and Ito's colours without their purple; yellow, too light for lines, left out.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#000000")
LINES = ("-", "--", "-.", ":")
DPI = 130
_LARGEST = 1e306  # on an axis: matplotlib overflows beyond it
WIDTH = 10.4  # inches

_LOOK = {
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.5,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "hpo",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # publishers refuse Type 3 fonts
}


@contextmanager
def look() -> Iterator[None]:
    """In this block, figures are made and saved in the report's style, regardless of the user's matplotlibrc."""
    with mpl.rc_context():
        mpl.rcdefaults()
        for name, value in _LOOK.items():
            mpl.rcParams[name] = value  # type: ignore[index]
        yield


class Drawing(Figure):
    """A figure of the report, which a notebook shows in the report's style."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        with look():
            FigureCanvasAgg(self).print_png(png)  # type: ignore[no-untyped-call]
        return png.getvalue()


def panels(
    count: int, *, height: float, rows_per_panel: Sequence[float] = (1.0,), share_x: bool = True
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with at most four panels per row, and for each panel its axes, from top to bottom.

    Axes in the same row of a panel share y.

    Args:
        count: the number of panels.
        height: of a row of panels, in inches.
        rows_per_panel: the relative heights of the axes in a panel.
        share_x: whether all axes share x.
    """
    columns = count if count <= 4 else (3 if count in (5, 6, 9) else 4)
    bands, per = math.ceil(count / columns), len(rows_per_panel)
    width = WIDTH if columns > 2 else 3.6 + 3.4 * columns
    figure = Drawing(figsize=(width, height * bands + 0.5), layout="constrained")
    grid = figure.add_gridspec(bands * per, columns, height_ratios=[*rows_per_panel] * bands)
    result: list[list[Axes]] = []
    for i in range(count):
        band, column = divmod(i, columns)
        axes: list[Axes] = []
        for row in range(per):
            leader = result[0] if result else axes
            axes.append(
                figure.add_subplot(
                    grid[band * per + row, column],
                    sharex=leader[0] if leader and share_x else None,
                    sharey=result[0][row] if result else None,
                )
            )
            axes[-1].tick_params(labelleft=column == 0, labelbottom=row == per - 1)
        result.append(axes)
    return figure, result


def style(i: int) -> tuple[str, str]:
    """The colour and line style of the i-th arm or worker."""
    return COLOURS[i % len(COLOURS)], LINES[i // len(COLOURS) % len(LINES)]


def legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """A legend in one line (or few) below all panels."""
    if handles:
        # A label that begins with "_" would be dropped by matplotlib.
        shown = ["\u200a" + label if label.startswith("_") else label for label in labels]
        room = 13 * figure.get_figwidth()  # in letters
        fits = sum(len(label) + 8 for label in shown) <= room
        columns = len(shown) if fits else max(1, int(room / (max(map(len, shown)) + 8)))
        figure.legend(list(handles), shown, loc="outside lower center", ncols=columns)


def scale_axis(axes: Axes, parameter: Parameter, which: str) -> None:
    """Put one axis on a hyperparameter's scale, with the whole range of the search space in view."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    set_limits = axes.set_xlim if which == "x" else axes.set_ylim
    if isinstance(parameter, Categorical):
        choices = list(map(str, parameter.choices))
        names = [choice if len(choice) <= 16 else choice[:15] + "…" for choice in choices]
        axis.set_major_locator(FixedLocator(range(len(names))))
        axis.set_major_formatter(FuncFormatter(lambda value, _: names[round(value)]))
        set_limits(-0.4, len(names) - 0.6)
        return
    low, high = parameter.low, parameter.high
    if not parameter.log:
        margin = 0.06 * (high - low)
        set_limits(max(low - margin, -_LARGEST), min(high + margin, _LARGEST))
        return
    stretch = high**0.06 / low**0.06
    # The limits come first: matplotlib would look for limits of its own, and overflow.
    set_limits(max(low / stretch, 1 / _LARGEST), min(high * stretch, _LARGEST))
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    decades = math.log10(high) - math.log10(low)
    if decades > 200:  # LogLocator would go on beyond the largest float
        stride = math.ceil(decades / 8)
        axis.set_major_locator(FixedLocator([10.0**k for k in range(-300, 301, stride) if low <= 10.0**k <= high]))
    else:
        axis.set_major_locator(LogLocator(numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axis.set_minor_locator(NullLocator())


def scale_values(axes: Axes, values: NDArray[np.float64], *, maximize: bool) -> bool:
    """Put the y axis on a log scale, if finite values with a small one as the best differ by much; return whether it is."""
    if maximize or not values.size or values.min() <= 0 or values.max() <= 3 * values.min():
        return False
    axes.set_yscale("log")
    wide = values.max() > 100 * values.min()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), numticks=12))
    axes.yaxis.set_major_formatter(lambda value, _: power(value) if wide else f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    return True


def power(value: float) -> str:
    """A tick of a log axis: a power of ten with a superscript, without mathematics markup."""
    if value <= 0:
        return ""
    exponent = math.log10(value)
    if abs(exponent - round(exponent)) > 1e-9:
        return f"{value:g}"
    if -2 <= exponent <= 3:
        return f"{value:g}"
    return "10" + str(round(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def save(figure: Figure) -> tuple[bytes, bytes]:
    """The figure as PNG and SVG; the same figure gives the same bytes."""
    png, svg = io.BytesIO(), io.BytesIO()
    # The canvases' own writers: `savefig` would draw everything once more to lay it out.
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")  # laid out once, for both
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return png.getvalue(), svg.getvalue()


def pdf(figure: Figure) -> bytes:
    """The figure as PDF, without its date; the same figure gives the same bytes. Call it after `save`, which lays it out."""
    content = io.BytesIO()
    nothing = {"CreationDate": None, "Producer": None}
    FigureCanvasPdf(figure).print_pdf(content, metadata={"Creator": "hpo", **nothing})  # type: ignore[no-untyped-call]
    return content.getvalue()
