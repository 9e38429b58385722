"""Sections of report.html that runs of generation alone have.

What is read of results.json; every block may be missing:

    {"features": NAME, "alarms": [TEXT], "notes": [TEXT],
     "untrained": {SPLIT: measures}, "training_images": {SPLIT: measures},
     "validation": {"first" | "least" | "last": {"step", "kid"}},
     "memorisation": {"training_images": n, "pixels" | "features": against_control(...)}}
"""

from collections.abc import Iterator, Mapping
from typing import Any

from skinjax.document import Section, Table

KNOWN = (
    'features', 'alarms', 'notes', 'untrained', 'training_images', 'validation', 'memorisation',
)  # fmt: skip
COLUMNS = {
    'n': 'real images',
    'kid': 'KID',
    'fid': 'FID',
    'precision': 'precision',
    'recall': 'recall',
    'density': 'density',
    'coverage': 'coverage',
    'diversity': 'diversity',
}
WHAT = {'generated': 'splits', 'untrained': 'untrained', 'training images': 'training_images'}


def sections(results: Mapping[str, Any]) -> Iterator[Section]:
    """Nothing, where no images were generated."""
    if 'memorisation' not in results and 'untrained' not in results:
        return
    yield _quality(results)
    yield from _memorisation(results)


def _quality(results: Mapping[str, Any]) -> Section:
    """Generated images beside those of the untrained network and real ones of training."""
    text = (
        f'By features of {results.get("features")}. What is possible with as many images is told '
        'by real images of the training split, what is bad by the network before training.'
    )
    lines = [f'Alarm: {alarm}.' for alarm in results.get('alarms') or ()]
    lines += [f'Note: {note}.' for note in results.get('notes') or ()]
    rows = [
        [split, what, *(block.get(name) for name in COLUMNS)]
        for split in results.get('splits') or {}
        for what, part in WHAT.items()
        for block in [(results.get(part) or {}).get(split)]
        if block
    ]
    tables = [
        Table('Against the real images of a split', ['split', 'images', *COLUMNS.values()], rows)
    ]
    for split, block in (results.get('splits') or {}).items():
        if own := block.get('by_class'):
            rows = [[name, *(one.get(key) for key in COLUMNS)] for name, one in own.items()]
            tables.append(Table(f'Classes of {split}', ['class', *COLUMNS.values()], rows))
    if history := results.get('validation'):
        rows = [[name, one['step'], one['kid']] for name, one in history.items()]
        tables.append(Table('KID on the validation split', ['evaluation', 'step', 'KID'], rows))
    return Section('Generated images', '\n\n'.join([text, *lines]), tables)


def _memorisation(results: Mapping[str, Any]) -> Iterator[Section]:
    """Distances to the nearest training image beside those of held-out real images."""
    found = results.get('memorisation') or {}
    names = [name for name in ('pixels', 'features') if name in found]
    if not names:
        return
    text = (
        'Distance of each generated image to the nearest training image, and that of held-out real '
        'images. `further` is the share of pairs in which the generated one is further away: 0.5 '
        'where both are alike, near 0 where training images are copied (or where generated images '
        'are plainer than real ones). A near-copy is at most a third as far from its nearest '
        'training image as from the next.'
    )
    rows = []
    for name in names:
        one = found[name]
        made, held = one['made'], one['heldout']
        copied = [one.get('copies'), one.get('heldout_copies')]
        rows.append([name, made['mean'], made['least'], held['mean'], held['least']])
        rows[-1] += [one['further'], one['z'], one['below_threshold'], *copied]
    header = ['distance by', 'generated, mean', 'least', 'held-out, mean', 'least', 'further', 'z']
    header += ['nearer than 99 % of held-out', 'near-copies', 'held-out near-copies']
    caption = f'Against {found.get("training_images")} training images'
    yield Section('Memorisation', text, [Table(caption, header, rows)])
