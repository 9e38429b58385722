"""results.json, figures and report.html of kind 'explain'."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skinjax import config as configs
from skinjax import figures, panel_figures
from skinjax.data import choosing
from skinjax.document import Figure, Section, Table, figure, write_report
from skinjax.engine.writer import write_json
from skinjax.pictures import embed
from skinjax.predictions import Predictions
from skinjax.relevance import faithfulness, findings, heatmaps

if TYPE_CHECKING:
    from skinjax.explain import Setting

_COLUMNS = 6  # pictures a row: two images, three pictures each
_SHOWN = 3  # images whose maps are shown while weights are randomised


def write(
    setting: 'Setting',
    table: Predictions,
    maps: np.ndarray,
    checks: Mapping[str, Any],
    workdir: Path,
) -> dict[str, Any]:
    """Writes everything but DONE; returns the contents of results.json.

    Args:
        setting: of the run.
        table: explained.csv.
        maps: maps.npy.
        checks: 'sanity' and 'cascade', 'faithfulness' and 'curves', as far as they were made.
        workdir: of the run.
    """
    results = findings.collect(setting, table, maps, checks)
    write_json(workdir / 'results.json', results)
    page = [*_maps(setting, table, maps, results, workdir)]
    page += [*_sanity(checks, results, workdir), *_faithfulness(checks, results, workdir)]
    page += [Section('Configuration', code=json.dumps(configs.to_json(setting.config), indent=2))]
    write_report(workdir / 'report.html', f'{workdir.resolve().name} (explain)', page)
    return results


def _maps(
    setting: 'Setting',
    table: Predictions,
    maps: np.ndarray,
    results: Mapping[str, Any],
    workdir: Path,
) -> Iterator[Section]:
    module = configs.find('explainers', setting.config.explainer.name)
    what = ' '.join((module.__doc__ or '').strip().partition('\n\n')[0].split())
    of = {'predicted': 'the class that is called', 'label': 'the true class'}
    target = of.get(setting.config.target, f'class {setting.config.target}')
    text = f'{what}\n\n{len(table)} images, explained for {target}. '
    if results['signed']:
        text += 'Red speaks for that class, blue against it. '
    text += 'Each map has its own scale.'
    header = ['class', 'images', 'rightly called', 'mean score', 'mean sum of the map']
    header += ['share of relevance above 0', 'maps of zeros']
    keys = ('n', 'right', 'score', 'total', 'positive_share', 'zero')
    rows = [[name, *(b[key] for key in keys)] for name, b in results['classes'].items()]
    drawn = [_panels(setting, table, maps, results, workdir)]
    drawn = [one for one in drawn if one] + [_means(setting, table, maps, results, workdir)]
    remarks = ''.join(f'\n\n{remark[0].upper()}{remark[1:]}.' for remark in results['remarks'])
    yield Section('Maps', text + remarks, [Table('By true class', header, rows)], drawn)


def _small(drawn: Figure, path: Path) -> Figure:
    """With the file made small enough to embed."""
    return Figure(embed(path), drawn.alt, drawn.caption)


def _panels(
    setting: 'Setting',
    table: Predictions,
    maps: np.ndarray,
    results: Mapping[str, Any],
    workdir: Path,
) -> Figure | None:
    rows, tiles, titles = choosing.some_of_each(table.labels, setting.config.shown), [], []
    if not len(rows):
        return None
    classes, columns = setting.data.classes, table.columns
    for row in rows.tolist():
        image = setting.records.read(row)['image']
        tiles += heatmaps.panel(image, maps[row], signed=results['signed'])
        target = int(columns['target'][row])
        titles += [
            f'{str(table.ids[row])[-24:]}\n{classes[table.labels[row]]}',
            f'for {classes[target]}\nscore {columns["score"][row]:.3g}',
            f'called {classes[columns["predicted"][row]]}\np = {_chance(table, row, target):.2f}',
        ]
    alt = f'Image, map and both of {len(rows)} images'
    drawn = figure(workdir, 'maps', figures.image_grid(tiles, titles, _COLUMNS), alt)
    return _small(drawn, workdir / 'figures' / 'maps.png')


def _chance(table: Predictions, row: int, target: int) -> float:
    """Probability of the target."""
    if table.binary:
        return float(table.positive[row] if target == 1 else 1 - table.positive[row])
    return float(table.scores[row, target])


def _means(
    setting: 'Setting',
    table: Predictions,
    maps: np.ndarray,
    results: Mapping[str, Any],
    workdir: Path,
) -> Figure:
    """Where the relevance of each class lies on average."""
    tiles, titles = [], []
    for name in results['classes']:
        rows = np.flatnonzero(table.labels == setting.data.classes.index(name))
        mean = np.zeros(maps.shape[1:], np.float64)
        for row in rows:
            mean += maps[row].astype(np.float64) / len(rows)
        picture = heatmaps.coloured(mean, signed=results['signed'])
        tiles.append(heatmaps.pictures.fit(picture, heatmaps.SIDE))
        titles.append(f'{name}\n({len(rows)})')
    alt = 'Mean of the maps of each true class, each map divided by its largest size'
    grid = figures.image_grid(tiles, titles, min(len(tiles), _COLUMNS))
    return figure(workdir, 'mean_maps', grid, alt)


def _sanity(
    checks: Mapping[str, Any], results: Mapping[str, Any], workdir: Path
) -> Iterator[Section]:
    if 'sanity' not in checks:
        return
    text = (
        'The weights of the network were put into random order layer by layer, from the head '
        'down, and the maps made again. What a map has in common with that of random weights '
        'cannot come from what was learned: the closer to 0, the better (Adebayo et al. 2018).'
    )
    header = ['down to', 'layers', 'rank correlation', 'of absolute values', 'images']
    keys = ('down_to', 'layers', 'rank', 'rank_abs', 'n')
    rows = [[row[key] for key in keys] for row in checks['sanity']]
    shown = Table('Maps of the trained network and of a partly random one', header, rows)
    images, steps = checks['cascade']
    tiles, titles = [], []
    for k, image in enumerate(images[:_SHOWN]):
        tiles.append(heatmaps.pictures.fit(image, heatmaps.SIDE))
        titles.append('image')
        for depth, maps in steps:
            picture = heatmaps.coloured(maps[k], signed=results['signed'])
            tiles.append(heatmaps.pictures.fit(picture, heatmaps.SIDE))
            titles.append(f'{depth} random' if depth else 'trained')
    alt = 'Maps while more and more layers are random, an image a row'
    grid = figures.image_grid(tiles, titles, len(steps) + 1, 1.1)
    drawn = _small(
        figure(workdir, 'randomisation', grid, alt), workdir / 'figures/randomisation.png'
    )
    yield Section('Do the maps depend on what was learned?', text, [shown], [drawn])


def _faithfulness(
    checks: Mapping[str, Any], results: Mapping[str, Any], workdir: Path
) -> Iterator[Section]:
    if 'faithfulness' not in checks:
        return
    block, curves = results['faithfulness'], checks['curves']
    with_what = {'mean': 'its mean colour', 'blur': 'a blurred copy'}[block['fill']]
    text = (
        f'Cells of {block["n"]} images were replaced by {with_what} in the order of their '
        'relevance (deletion: the probability of the explained class should fall at once), and '
        'shown in that order on such a background (insertion: it should rise at once). Beside it '
        'a random order, and one from the centre outwards, where lesions are.'
    )
    orders = ('map', *faithfulness.ORDERS)
    header = ['', *orders, *(f'better than {order}' for order in faithfulness.ORDERS)]
    keys = (*orders, *(f'over_{order}' for order in faithfulness.ORDERS))
    rows = [[mode, *(block[mode][key] for key in keys)] for mode in faithfulness.MODES]
    shares = np.linspace(0, 1, faithfulness.STEPS + 1)
    panels = {
        mode: {order: (shares, curves[mode][order].mean(0)) for order in orders}
        for mode in faithfulness.MODES
    }
    image = panel_figures.curves_figure(
        panels, 'share of the cells', 'mean probability of the target'
    )
    drawn = figure(workdir, 'faithfulness', image, 'Deletion and insertion curves, mean of images')
    yield Section(
        'Do the pixels matter to the network?',
        text,
        [Table('Area under the curve', header, rows)],
        [drawn],
    )
