"""Figures of reports as PNG bytes, with matplotlib's object interface and no global state.

Colours are those of Okabe and Ito (2008), told apart with every kind of colour vision, and every
curve also has its own line style. Each function returns the file: write it with
`Path.write_bytes` or embed it in a report.
"""

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Num, UInt8

from skinjax.bootstrap import mean_interval
from skinjax.measures import auc, reliability, roc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#56B4E9', '#E69F00', '#000000')
STYLES = ('-', '--', '-.', ':')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')
DPI = 110
_POINTS = 1500
_GAP = 3  # pixels between pictures of a strip

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def new_figure(width: float, height: float) -> 'Figure':
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout='constrained')


def png(figure: 'Figure') -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    # What `savefig` gives, which would draw everything twice: once for the layout alone. Without
    # a version in it the same figure is the same file.
    FigureCanvasAgg(figure).print_png(buffer, metadata={'Software': None})
    figure.clear()
    return buffer.getvalue()


def plain(name: object) -> str:
    """A name as it is: a dollar sign would begin a formula, a leading _ hides a legend entry."""
    text = str(name).replace('$', r'\$')
    return f' {text}' if text.startswith('_') else text


def look(k: int) -> dict[str, Any]:
    return {'color': COLOURS[k % len(COLOURS)], 'linestyle': STYLES[k % len(STYLES)]}


def tidy(axes: 'Axes', x: str, y: str) -> None:
    axes.set_xlabel(plain(x))
    axes.set_ylabel(plain(y))
    axes.grid(True, color='0.88', linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def _thin(*arrays: np.ndarray, points: int = _POINTS) -> tuple[np.ndarray, ...]:
    """At most `points` of a curve, first and last included: more cannot be seen."""
    keep = np.unique(np.linspace(0, len(arrays[0]) - 1, points).astype(int))
    return tuple(array[keep] for array in arrays)


def roc_figure(
    curves: Curves, points: Mapping[str, tuple[float, float]] | None = None, title: str = ''
) -> bytes:
    """ROC curves with their AUC in the legend.

    Args:
        curves: name -> (labels, scores).
        points: name -> (false positive rate, true positive rate) of readers without a score,
            such as the mean dermatologist.
        title: above the axes.
    """
    figure = new_figure(5.2, 4.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color='0.7', linewidth=0.8)
    for k, (name, (labels, scores)) in enumerate(curves.items()):
        area = auc(labels, scores)
        if math.isnan(area):
            axes.plot([], [], **look(k), label=f'{plain(name)} (one class only)')
            continue
        fpr, tpr, _ = roc(labels, scores)
        axes.plot(*_thin(fpr, tpr), **look(k), label=f'{plain(name)} (AUC {area:.3f})')
    for k, (name, (fpr, tpr)) in enumerate((points or {}).items()):
        marker = MARKERS[k % len(MARKERS)]
        axes.plot([fpr], [tpr], marker, color='black', label=plain(name), markersize=6)
    tidy(axes, '1 − specificity', 'sensitivity')
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect='equal', title=plain(title))
    if curves or points:
        axes.legend(loc='lower right', fontsize='small', framealpha=0.9)
    return png(figure)


def reliability_figure(curves: Curves, bins: int = 15, title: str = '') -> bytes:
    """Observed frequency against stated probability, and below how many rows state it.

    `curves` is name -> (labels, probabilities [n], [n, 1] or [n, c]).
    """
    figure = new_figure(5.2, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color='0.7', linewidth=0.8)
    for k, (name, (labels, probabilities)) in enumerate(curves.items()):
        table = reliability(labels, probabilities, bins)
        filled = table['count'] > 0
        upper.plot(
            table['confidence'][filled],
            table['frequency'][filled],
            **look(k),
            marker=MARKERS[k % len(MARKERS)],
            markersize=4,
            label=plain(name),
        )
        share = table['count'] / max(table['count'].sum(), 1)
        edges = np.append(table['lower'], table['upper'][-1])
        lower.stairs(share, edges, **look(k))
    tidy(upper, '', 'observed frequency')
    tidy(lower, 'stated probability', 'share of rows')
    upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), title=plain(title))
    if curves:
        upper.legend(loc='upper left', fontsize='small')
    return png(figure)


def training_figure(records: Sequence[Mapping[str, Any]], limit: int = 12) -> bytes:
    """Every metric of `metrics.jsonl` against the step: a panel each, a curve per split.

    At most `limit` panels are drawn, those with the most values first in the order of the file.
    """
    series: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for record in records:
        for name, value in record.items():
            if name not in ('step', 'split', 'time') and isinstance(value, (int, float)):
                split = series.setdefault(name, {}).setdefault(str(record.get('split', '')), [])
                split.append((record['step'], value))
    names = sorted(series, key=lambda name: -max(len(s) for s in series[name].values()))[:limit]
    names = [name for name in series if name in names]
    columns = min(3, max(len(names), 1))
    rows = max(math.ceil(len(names) / columns), 1)
    figure = new_figure(3.4 * columns, 2.5 * rows)
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    order = {split: k for k, split in enumerate(_splits_in_order(series))}
    for name, axes in itertools.zip_longest(names, panels):
        if name is None:
            axes.set_visible(False)
            continue
        for split, values in series[name].items():
            steps, heights = _thin(*np.array(values, np.float64).T)
            marker = 'o' if len(steps) < 15 else ''
            axes.plot(
                steps,
                heights,
                **look(order[split]),
                marker=marker,
                markersize=3,
                label=plain(split),
            )
        tidy(axes, 'step', '')
        axes.set_title(plain(name), fontsize='medium')
        axes.legend(fontsize='x-small')
    return png(figure)


def _splits_in_order(series: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(split for curves in series.values() for split in curves))


def _number(value: Any) -> float:
    return float('nan') if value is None else float(value)


def interval_bars(
    entries: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, int] | None = None,
    label: str = 'accuracy',
    title: str = '',
) -> bytes:
    """Points with intervals, one a row, with the number of images beside the name.

    Args:
        entries: name -> {value, low, high}, where None means unknown.
        counts: name -> images behind it.
        label: what is measured, a number between 0 and 1.
        title: above the axes.
    """
    figure = new_figure(5.6, 1.1 + 0.32 * max(len(entries), 1))
    axes = figure.add_subplot()
    for k, block in enumerate(entries.values()):
        value, low, high = (_number(block.get(name)) for name in ('value', 'low', 'high'))
        axes.plot([low, high], [k, k], color=COLOURS[0], linewidth=2, solid_capstyle='butt')
        axes.plot([value], [k], 'o', color=COLOURS[1], markersize=6)
    names = [
        f'{plain(name)} (n = {counts[name]})' if counts and name in counts else plain(name)
        for name in entries
    ]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    tidy(axes, label, '')
    axes.set(xlim=(-0.02, 1.02), title=plain(title))
    return png(figure)


def group_figure(groups: Mapping[str, Any], title: str = '') -> bytes:
    """Accuracy of each (class, value) cell of a `group_metrics` block, with Wilson intervals."""
    cells = [cell for cell in groups['cells'] if cell['count']]
    names = [f'{cell["class"]}, {cell["value"]}' for cell in cells]
    return interval_bars(
        {name: cell['accuracy'] for name, cell in zip(names, cells, strict=True)},
        {name: cell['count'] for name, cell in zip(names, cells, strict=True)},
        'accuracy',
        title,
    )


def comparison_figure(
    values: Mapping[str, Mapping[str, Sequence[float | None]]],
    label: str = 'AUC',
    chance: float | None = None,
    title: str = '',
) -> bytes:
    """Methods side by side on each split: a dot a seed, and the mean with its t interval.

    Args:
        values: method -> split -> one value a seed.
        label: what is measured.
        chance: a level to mark.
        title: above the axes.
    """
    splits = list(dict.fromkeys(split for rows in values.values() for split in rows))
    figure = new_figure(max(4.5, 1.6 + 1.25 * len(splits) * max(1, len(values) / 4)), 4.0)
    axes = figure.add_subplot()
    for k, (method, rows) in enumerate(values.items()):
        colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        shift = (k - (len(values) - 1) / 2) * 0.8 / max(len(values), 1)
        for at, split in enumerate(splits):
            seeds = np.array([_number(value) for value in rows.get(split, ())])
            known = seeds[~np.isnan(seeds)]
            if not known.size:
                continue
            found = mean_interval(known)
            place = at + shift
            axes.plot(np.full(known.size, place), known, '.', color=colour, alpha=0.45)
            axes.plot([place, place], [found['low'], found['high']], color=colour, linewidth=2)
            axes.plot([place], [found['mean']], marker, color=colour, markeredgecolor='black')
        axes.plot([], [], marker, color=colour, markeredgecolor='black', label=plain(method))
    if chance is not None:
        axes.axhline(chance, color='0.5', linewidth=0.8, linestyle=':')
    axes.set_xticks(range(len(splits)), [plain(split) for split in splits])
    tidy(axes, '', label)
    axes.set_title(plain(title))
    if values:
        axes.legend(fontsize='small', loc='center left', bbox_to_anchor=(1, 0.5))
    return png(figure)


def distribution_figure(
    values: Mapping[str, np.ndarray],
    label: str,
    bins: int = 20,
    title: str = '',
    top: float = 1.0,
    low: float = 0.0,
) -> bytes:
    """The share of images in each of equal bins of `low` ... `top`: a stepped line for each entry.

    Args:
        values: name -> [n], nan where there is none; the legend has their means.
        label: what is measured.
        bins: their number.
        title: above the axes.
        top: the greatest value that is shown.
        low: the least one.
    """
    figure = new_figure(5.2, 3.6)
    axes = figure.add_subplot()
    edges = np.linspace(low, top, bins + 1)
    for k, (name, column) in enumerate(values.items()):
        known = np.asarray(column, np.float64)
        known = known[~np.isnan(known)]
        share = np.histogram(known, edges)[0] / max(known.size, 1)
        mean = f'mean {known.mean():.3f}, ' if known.size else ''
        axes.stairs(share, edges, **look(k), label=f'{plain(name)} ({mean}n = {known.size})')
    tidy(axes, label, 'share of images')
    axes.set(xlim=(low, top), ylim=(0, None), title=plain(title))
    if values:
        axes.legend(fontsize='small', loc='best')
    return png(figure)


def image_grid(
    images: Sequence[Num[np.ndarray, '_ _ ...']],
    titles: Sequence[str] = (),
    columns: int = 4,
    width: float = 1.7,
) -> bytes:
    """Pictures in rows with a line of text above each: uint8, or floats in [0, 1].

    Maps [h, w] are drawn in a perceptually even colour scale over [0, 1] (or [0, 255]).

    Raises:
        ValueError: another number of titles than images.
    """
    if titles and len(titles) != len(images):
        raise ValueError(f'image_grid: {len(images)} images and {len(titles)} titles')
    rows = max(math.ceil(len(images) / columns), 1)
    figure = new_figure(width * columns, (width + 0.25) * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for k, axes in enumerate(panels):
        axes.set_axis_off()
        if k < len(images):
            image = np.asarray(images[k])
            top = 255 if image.dtype == np.uint8 else 1
            shown = np.clip(image, 0, top)
            axes.imshow(shown, vmin=0, vmax=top, cmap='viridis', interpolation='nearest')
            axes.set_title(plain(titles[k]) if titles else '', fontsize='x-small')
    return png(figure)


def strips_figure(
    rows: Mapping[str, Sequence[UInt8[np.ndarray, 'h w 3']]], width: float = 9.2
) -> bytes:
    """Rows of pictures of one size, each row under its title; a shorter row ends with nothing."""
    columns = max(map(len, rows.values()))
    height = width / columns + 0.22
    figure = new_figure(width, height * len(rows))
    panels = figure.subplots(len(rows), 1, squeeze=False).ravel()
    for axes, (title, pictures) in zip(panels, rows.items(), strict=True):
        first = pictures[0].shape
        strip = np.full((first[0], columns * (first[1] + _GAP) - _GAP, 3), 255, np.uint8)
        for k, picture in enumerate(pictures):
            left = k * (first[1] + _GAP)
            strip[:, left : left + first[1]] = picture
        axes.set_axis_off()
        axes.imshow(strip, interpolation='lanczos')
        axes.set_title(plain(title), fontsize='small', loc='left', pad=2)
    return png(figure)
