"""Figures of several panels, of curves or of points, as PNG bytes; see `skinjax/figures.py`."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from skinjax.figures import COLOURS, MARKERS, Curves, look, new_figure, plain, png, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _rows_of(
    count: int, columns: int, width: float, height: float
) -> tuple['Figure', list['Axes']]:
    """A figure, and the axes of `count` panels in rows of at most `columns`; inches of a panel."""
    columns = max(min(columns, count), 1)
    rows = max(math.ceil(count / columns), 1)
    figure = new_figure(width * columns, height * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def curves_figure(
    panels: Mapping[str, Curves],
    x: str,
    y: str,
    limits: tuple[float, float] = (-0.02, 1.02),
    bands: Mapping[str, Curves] | None = None,
    columns: int = 0,
) -> bytes:
    """Panels, each with its curves.

    Args:
        panels: title -> name of a curve -> (x, y).
        x, y: what the axes show.
        limits: of y.
        bands: title -> name of a curve -> (lower, upper) bound of its y.
        columns: panels a row; 0: all side by side.
    """
    figure, all_axes = _rows_of(len(panels), columns or len(panels), 3.8, 3.4)
    for axes, (title, curves) in zip(all_axes, panels.items(), strict=True):
        for k, (name, (xs, ys)) in enumerate(curves.items()):
            axes.plot(xs, ys, **look(k), label=plain(name))
            if bands:
                axes.fill_between(xs, *bands[title][name], color=look(k)['color'], alpha=0.15)
        tidy(axes, x, y)
        axes.set(ylim=limits, title=plain(title))
        axes.legend(fontsize='small')
    return png(figure)


def scatter_figure(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, 'n 2']]], columns: int = 3
) -> bytes:
    """Panels of points, each group with its colour and marker; distances alone mean something.

    Args:
        panels: title -> name of a group -> coordinates.
        columns: panels a row.
    """
    figure, all_axes = _rows_of(len(panels), columns, 4.2, 3.8)
    for axes, (title, groups) in zip(all_axes, panels.items(), strict=True):
        axes.set_axis_off()
        for k, (name, points) in enumerate(groups.items()):
            # Seven colours and as many markers, so that 49 groups can be told apart.
            marker = MARKERS[(k + k // len(COLOURS)) % len(MARKERS)]
            colour = COLOURS[k % len(COLOURS)]
            axes.scatter(*points.T, s=14, c=colour, marker=marker, linewidths=0, label=plain(name))
        axes.set_title(plain(title), fontsize='medium')
        if groups:
            axes.legend(fontsize='x-small', markerscale=1.5)
    return png(figure)
