"""What kind 'generate' says of styled images: tables, figures and results.

A row is a dict of one content: `id`, `content`, `label`, what the editor and the gate found
(`styling/gate.py`; None where it is not defined), and `reason`, empty where the image is used.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from skinjax import figures, panel_figures, skin
from skinjax.bootstrap import bootstrap_mean
from skinjax.data import images, writing
from skinjax.data.records import Records
from skinjax.engine.writer import write_atomic
from skinjax.styling import photos as style_photos
from skinjax.styling import recolour

Row = Mapping[str, Any]

REJECTED = 'rejected'  # folder of the images that are not used
MEASURES = (
    'structure', 'ita_before', 'ita_after', 'patch_before', 'patch_after', 'boundary', 'novelty',
    'change',
)  # fmt: skip
LOSSES = ('total', 'style', 'content')
POINTS, SKIPPED = 100, 200  # of each curve; steps at the start that the second panel leaves out
QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)
SHOWN, SIDE = 12, 160  # contents on each sheet, and pixels of a picture
WARNING = (
    'These are light lesions in another colour. Recolouring adds no lesion as it looks on dark '
    'skin: judge every classifier on real images.'
)


def cell(value: Any) -> str:
    """A value in a table: six digits of a number, nothing for None."""
    if value is None:
        return ''
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def write_tables(workdir: Path, rows: Sequence[Row]) -> None:
    """per_image/gate.csv, a row for each content, and rejected.csv, those that are not used.

    Of style transfer also per_image/losses.csv: id, step, and the losses before that step.
    """
    table = [{name: cell(value) for name, value in row.items() if name != 'losses'} for row in rows]
    writing.write_csv(workdir / 'per_image' / 'gate.csv', table)
    header = ('id', 'content', 'label', 'reason')
    rejected = [{name: row[name] for name in header} for row in table if row['reason']]
    writing.write_csv(workdir / 'rejected.csv', rejected, header)
    points = [
        {'id': row['id'], **{name: cell(value) for name, value in zip(curves, at, strict=True)}}
        for row in rows
        if (curves := row.get('losses'))
        for at in zip(*curves.values(), strict=True)
    ]
    if points:
        writing.write_csv(workdir / 'per_image' / 'losses.csv', points)


def thinned(losses: Mapping[str, Sequence[float]]) -> dict[str, list[Any]]:
    """At most POINTS values of each curve, evenly and with both ends, and their steps."""
    count = len(losses[LOSSES[0]])
    at = np.unique(np.linspace(0, count - 1, min(POINTS, count)).astype(int)).tolist()
    return {'step': at, **{name: [float(losses[name][k]) for k in at] for name in LOSSES}}


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Blocks of results.json.

    gate        images that were made, used, and rejected by kind of reason (some have several)
    classes     class -> made and used
    measures    of all made images: number, mean and quantiles
    skin_types  type by typology angle -> images that are used, before and after
    change      type before, and type after -> what a classifier gives the class, after less before:
                number, mean with its bootstrap interval, mean size, how many are called
                otherwise; over the images that are used or rejected for it alone
    remarks     what to bear in mind
    """
    used = [row for row in rows if not row['reason']]
    reasons = Counter(
        _kind(part) for row in rows if row['reason'] for part in row['reason'].split('; ')
    )
    of = Counter(row['label'] for row in rows), Counter(row['label'] for row in used)
    found: dict[str, Any] = {
        'gate': {'made': len(rows), 'used': len(used), 'rejected': dict(reasons.most_common())},
        'classes': {name: {'made': of[0][name], 'used': of[1][name]} for name in sorted(of[0])},
        'measures': {name: _described(column(rows, name)) for name in MEASURES},
        'skin_types': _types(used),
        'remarks': [WARNING],
    }
    if any(row.get('change') is not None for row in rows):
        found['change'] = {when: _changes(rows, f'ita_{when}') for when in ('before', 'after')}
    return found


def _kind(reason: str) -> str:
    """The measure that a reason is about, or what the editor says but for details."""
    first = reason.split()[0]
    return first if first in (*MEASURES, 'ita') else re.split(r':| \(', reason)[0]


def column(rows: Sequence[Row], name: str) -> Float[np.ndarray, ' n']:
    """A measure of each row; nan where there is none."""
    values = [row.get(name) for row in rows]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _described(values: Float[np.ndarray, ' n']) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    if not known.size:
        return {'n': 0}
    quantiles = np.quantile(known, QUANTILES)
    named = {f'q{100 * q:.0f}': float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}
    return {'n': known.size, 'mean': float(known.mean()), **named}


def types(angles: Float[np.ndarray, ' n']) -> list[str]:
    """The type, I to VI, of each typology angle; '' where it is unknown."""
    names = list(skin.TYPES)
    found = skin.skin_type(np.nan_to_num(angles))
    return ['' if np.isnan(angle) else names[k - 1] for angle, k in zip(angles, found, strict=True)]


def _types(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    was, now = (Counter(types(column(rows, name))) for name in ('ita_before', 'ita_after'))
    return {name: {'before': was[name], 'after': now[name]} for name in skin.TYPES}


def _changes(rows: Sequence[Row], by: str) -> dict[str, Any]:
    """The change of a prediction, by the skin type of the angle `by`."""
    judged = [row for row in rows if row.get('change') is not None and _apart_from_change(row)]
    known, kind = column(judged, 'change'), np.array(types(column(judged, by)))
    switched = np.array([row.get('call_before') != row.get('call_after') for row in judged])
    found = {}
    for name in (*skin.TYPES, 'all'):
        mine = kind == name if name != 'all' else np.full(len(judged), True)
        if mine.any():
            found[name] = {'n': int(mine.sum()), **bootstrap_mean(known[mine])}
            found[name]['mean_abs'] = float(np.abs(known[mine]).mean())
            found[name]['switched'] = int(switched[mine].sum())
    return found


def _apart_from_change(row: Row) -> bool:
    """Whether nothing else speaks against an image."""
    return all(_kind(part) == 'change' for part in row['reason'].split('; ') if part)


def told(results: Mapping[str, Any]) -> str:
    """The line that ends a run."""
    gate = results['gate']
    why = ', '.join(f'{count} for {name}' for name, count in gate['rejected'].items())
    return f'{gate["used"]} of {gate["made"]} images are used' + (f' (rejected: {why})' * bool(why))


def draw(
    workdir: Path, contents: Records, rows: Sequence[Row], photos: Sequence[style_photos.Photo]
) -> None:
    """Writes figures/: contact_sheet and ita of what is used, rejected of what else was styled,
    and losses of style transfer.
    """
    known = {photo.id: images.fit(photo.image, SIDE) for photo in photos}
    used = [k for k, row in enumerate(rows) if not row['reason']]
    rejected = [k for k, row in enumerate(rows) if row['reason'] and 'structure' in row]
    if rejected:
        _sheet(workdir, 'rejected', workdir / REJECTED, contents, rows, rejected, known)
    if curves := [row['losses'] for row in rows if row.get('losses')]:
        write_atomic(workdir / 'figures' / 'losses.png', _losses(curves))
    if not used:
        return
    _sheet(workdir, 'contact_sheet', workdir, contents, rows, used, known)
    own = [rows[k] for k in used]
    angles = {when: column(own, f'ita_{when}') for when in ('before', 'after')}
    write_atomic(workdir / 'figures' / 'ita.png', _histogram(angles))


def _histogram(angles: Mapping[str, Float[np.ndarray, ' n']]) -> bytes:
    """Shares of images for every 5 degrees; 90 and more, which bluish skin has, are shown too."""
    known = np.concatenate([*angles.values(), (-60.0, 100.0)])
    low, top = 5 * np.floor(np.nanmin(known) / 5), 5 * np.ceil(np.nanmax(known) / 5)
    bins, label = round((top - low) / 5), 'ITA of the skin, degrees'
    return figures.distribution_figure(angles, label, bins, '', float(top), float(low))


def _losses(curves: Sequence[Mapping[str, Any]]) -> bytes:
    """The median over images of each loss, as shares of its greatest value; and of its end."""
    step = np.array(curves[0]['step'])
    first = min(SKIPPED, int(step[-1]) // 2)
    panels = {}
    for title, shown in {'all steps': step >= 0, f'from step {first}': step >= first}.items():
        panels[title] = {}
        for name in LOSSES:
            values = np.array([one[name] for one in curves], np.float64)[:, shown]
            share = values / np.maximum(np.nanmax(values, 1, keepdims=True), 1e-30)
            panels[title][name] = step[shown], np.median(share, 0)
    return panel_figures.curves_figure(panels, 'step', 'share of the greatest value (median)')


def _sheet(
    workdir: Path,
    name: str,
    folder: Path,
    contents: Records,
    rows: Sequence[Row],
    which: Sequence[int],
    photos: Mapping[str, np.ndarray],
) -> None:
    """Content, photograph or tone that was asked for, and result, of some rows."""
    tiles, titles = [], []
    some = np.unique(np.linspace(0, len(which) - 1, min(SHOWN, len(which))).astype(int))
    for k in (which[i] for i in some):
        row = rows[k]
        path = folder / writing.IMAGES / f'{row["id"]}.png'
        before, after = images.fit(contents.read(k)['image'], SIDE), images.decode(path, SIDE)
        tiles += [before, _target(row, photos), after]
        titles += [_short(row['content']), *_angles(row)]
    write_atomic(workdir / 'figures' / f'{name}.png', figures.image_grid(tiles, titles, 6))


def _target(row: Row, photos: Mapping[str, np.ndarray]) -> UInt8[np.ndarray, 's s 3']:
    """The photograph of the style, or a square of the skin that was asked for."""
    if row.get('photo'):
        return photos[row['photo']]
    colour = recolour.on_the_line(row['asked_ita'])
    return np.tile(skin.rgb(colour[None, None]), (SIDE, SIDE, 1))


def _angles(row: Row) -> tuple[str, str]:
    """Titles of target and result."""
    asked = f'asked {row["asked_ita"]:.0f}'
    if row['reason']:
        return asked, _short(row['reason'])
    was, now = column([row], 'ita_before')[0], column([row], 'ita_after')[0]
    return asked, f'{was:.0f} to {now:.0f}'


def _short(text: str, most: int = 26) -> str:
    return text if len(text) <= most else f'{text[: most - 1]}…'
