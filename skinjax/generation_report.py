"""What runs of generation alone have: sections of report.html, and the table that ends them.

What is read of results.json; every block may be missing:

    {"features": NAME, "alarms": [TEXT], "notes": [TEXT],
     "untrained": {SPLIT: measures}, "training_images": {SPLIT: measures},
     "validation": {"first" | "least" | "last": {"step", "kid"}},
     "memorisation": {"training_images": n, "pixels" | "features": against_control(...)}}
"""

from collections.abc import Iterator, Mapping
from typing import Any

from skinjax.document import Section, Table
from skinjax.tables import console_table

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


def plain(value: Any) -> Any:
    """A figure without its deviation."""
    return value['value'] if isinstance(value, dict) else value


def summary(results: Mapping[str, Any]) -> str:
    """The table that ends a run, and what is said of copies and collapse."""
    names = [name for name in COLUMNS if name != 'n']
    rows = [
        [split, what, *(plain(block[name]) for name in names)]
        for split in results['splits']
        for what, part in WHAT.items()
        if part in results
        for block in [results[part][split]]
    ]
    lines = [f'features: {results["features"]}']
    lines += [console_table(['split', 'images', *(COLUMNS[name] for name in names)], rows)]
    if 'memorisation' in results:
        found = results['memorisation']['pixels']
        lines.append(
            f'{found["copies"]:.1%} of generated images are near-copies of a training image '
            f'(of held-out ones {found["heldout_copies"]:.1%}); '
            f'{found["below_threshold"]:.1%} are nearer to one than 99 % of held-out ones'
        )
    return '\n'.join([*lines, *(f'alarm: {alarm}' for alarm in results['alarms'])])


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
