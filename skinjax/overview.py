"""The page of kind 'inspect'."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skinjax.document import Figure, Section, Table, write_report
from skinjax.panels import PICTURED
from skinjax.pictures import embed

SHOWN = 25  # rows of a list on the page; the files have all
_SIZES = 10  # of groups and images
_TALL = 4000  # pixels of a picture of so many rows


def write_page(
    workdir: Path,
    results: Mapping[str, Any],
    config: Mapping[str, Any],
    problems: Sequence[Mapping[str, str]],
    pairs: Sequence[Mapping[str, Any]],
) -> Path:
    """`report.html` of what was found and of the pictures in `workdir/figures`; its path.

    Args:
        workdir: of the inspection.
        results: contents of results.json.
        config: contents of config.json.
        problems: rows of problems.csv.
        pairs: rows of duplicates.csv.
    """
    sections = [
        *_facts(results),
        *_counts(results),
        *_files(results, problems),
        *_duplicates(results, pairs, workdir),
        *_variables(results, workdir),
        *_look(results, workdir),
        Section('Configuration', code=json.dumps(config, indent=2, ensure_ascii=False)),
    ]
    path = workdir / 'report.html'
    write_report(path, f'{results["data"]["name"]} (inspection)', sections)
    return path


def _facts(results: Mapping[str, Any]) -> Iterator[Section]:
    data = results['data']
    facts = {name: value for name, value in data.items() if name not in ('bias', 'rows', 'notes')}
    facts = {**facts, 'rows': sum(data['rows'].values()), 'seed': results['seed']}
    text = results['about']
    if data.get('notes'):
        text += '\n\n' + '\n\n'.join(data['notes'])
    if results['refused']:
        text += '\n\nTraining refuses this data set: ' + ' — '.join(results['refused']) + '.'
    else:
        text += '\n\nTraining accepts this data set.'
    yield Section('What it is', text, [Table('', ['name', 'value'], [*facts.items()])])


def _share(n: int, total: int) -> str:
    return f'{n} ({100 * n / total:.1f} %)' if total else str(n)


def _counts(results: Mapping[str, Any]) -> Iterator[Section]:
    classes, groups = results['data']['classes'], results['groups']
    rows = []
    for split, counts in results['classes'].items():
        n = sum(counts.values())
        shares = [_share(counts[name], n) for name in classes]
        rows.append([split, n, groups['splits'][split], *shares])
    tables = [Table('Images by split and class', ['split', 'images', 'groups', *classes], rows)]
    header = ['images of a group', 'groups']
    tables.append(Table('Size of groups', header, [*groups['rows'].items()][:_SIZES]))
    largest = [*groups['largest'].items()]
    if largest and largest[0][1] > 1:
        tables.append(Table('Largest groups', ['group', 'images'], largest))
    divided = groups['divided']
    text = (
        'A group is what must never be divided between splits: a patient, a lesion, a set of near '
        f'duplicates. {groups["count"]} groups, {len(divided)} of them in several splits.'
    )
    if divided:
        listed = [[g['group'], _parts(g['splits']), g['leak']] for g in divided[:SHOWN]]
        caption = f'Groups in several splits ({min(SHOWN, len(divided))} of {len(divided)})'
        tables.append(Table(caption, ['group', 'images', 'leak'], listed))
        text += ' A leak involves the training or the validation split.'
    yield Section('Classes and groups', text, tables)


def _parts(counts: Mapping[str, int]) -> str:
    return ', '.join(f'{n} {split}' for split, n in counts.items())


def _files(results: Mapping[str, Any], problems: Sequence[Mapping[str, str]]) -> Iterator[Section]:
    found, masks, counted = results['files'], results['masks'], results['problems']
    tables = []
    if found['sizes']:
        sizes = [*found['sizes'].items()]
        total = sum(found['sizes'].values())
        rows = [[size, _share(n, total)] for size, n in sizes[: 2 * _SIZES]]
        caption = f'Width x height ({len(rows)} of {len(sizes)} sizes)'
        tables.append(Table(caption, ['pixels', 'images'], rows))
        bounds = [[side, found[side]['min'], found[side]['max']] for side in ('width', 'height')]
        tables.append(Table('Bounds', ['side', 'least', 'most'], bounds))
        tables.append(Table('Formats', ['format', 'images'], [*found['formats'].items()]))
        text = 'As the headers of the files say.'
    else:
        text = 'The rows of this source are not image files.'
    if masks['count']:
        text += f'\n\n{masks["count"]} images have a mask, {masks["empty"]} of these are empty.'
        shares = [[name, f'{100 * share:.1f} %'] for name, share in masks['mean_share'].items()]
        tables.append(Table('Mean share of the image in the mask', ['class', 'share'], shares))
    text += f'\n\n{counted["missing"]} files are missing, {counted["unreadable"]} are unreadable.'
    if problems:
        rows = [[p['id'], p['split'], p['file'], p['problem']] for p in problems[:SHOWN]]
        caption = f'Problems ({len(rows)} of {len(problems)}; all are in problems.csv)'
        tables.append(Table(caption, ['id', 'split', 'file', 'problem'], rows))
    yield Section('Files', text, tables)


def _duplicates(
    results: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]], workdir: Path
) -> Iterator[Section]:
    found = results['duplicates']
    text = (
        'Pairs of images with the same bytes (file), the same pixels, or near duplicates: '
        f'perceptual hashes of 64 bits that differ in at most {found["distance"]}, and thumbnails '
        f'that correlate by at least {found["correlation"]:g}. A leak is a pair in two splits of '
        'which one is train or val; a pair in one group is known to belong together. Training '
        'with --config.data.group_duplicates makes one group of them.'
    )
    names = {
        'file': 'same file',
        'pixels': 'same pixels',
        'near': 'near',
        'leaks': 'that leak between splits',
        'leaks_between_groups': 'that leak and are in two groups, so that training goes ahead',
        'conflicts': 'of two classes',
    }
    tables = [Table('Pairs', ['kind', 'pairs'], [[names[name], found[name]] for name in names])]
    if pairs:
        header = ['id', 'other', 'kind', 'distance', 'splits', 'classes', 'same group', 'leak']
        listed = [_pair_row(pair) for pair in pairs[:SHOWN]]
        caption = f'Pairs ({len(listed)} of {len(pairs)}; all are in duplicates.csv)'
        tables.append(Table(caption, header, listed))
    drawn = [*_figure(workdir, 'duplicates', 'Pairs of duplicates, one above the other')]
    yield Section('Duplicates', text, tables, drawn)


def _pair_row(pair: Mapping[str, Any]) -> list[Any]:
    one, other = pair['label'], pair['other_label']
    classes = one if one == other else f'{one} / {other}'
    splits = pair['split'] if pair['split'] == pair['other_split'] else (
        f'{pair["split"]} / {pair["other_split"]}'
    )  # fmt: skip
    return [
        pair['id'], pair['other_id'], pair['kind'], pair['distance'], splits, classes,
        pair['same_group'], pair['leak'],
    ]  # fmt: skip


def _figure(workdir: Path, name: str, caption: str) -> Iterator[Figure]:
    path = workdir / 'figures' / f'{name}.png'
    if path.exists():
        yield Figure(embed(path, _TALL), caption, caption)


def _variables(results: Mapping[str, Any], workdir: Path) -> Iterator[Section]:
    found, splits = results['variables'], list(results['classes'])
    if not found:
        return
    text = (
        "Cramér's V: 0 for variables that say nothing of each other, 1 where one follows from the "
        'other. Kind file: of the image files; column: a column of the table with few values; '
        'detected: by detectors, which err: look at the pictures.'
    )
    ordered = _by_strength(results)
    rows = [
        [name, found[name]['kind'], *(found[name]['splits'][s]['association'] for s in splits)]
        for name in ordered
    ]
    tables = [Table('Association with the class', ['variable', 'kind', *splits], rows)]
    across = results['between']
    names = [name for name in found if found[name]['kind'] != 'column']
    if len(names) > 1:
        # A matrix with its lower half empty; every pair once.
        rows = [[one, *(across.get(one, {}).get(b, '') for b in names[1:])] for one in names[:-1]]
        caption = f'Association between variables, in {results["reference"]}'
        tables.append(Table(caption, ['variable', *names[1:]], rows))
    tables += [_value_table(name, results) for name in ordered]
    drawn = [
        figure
        for k, name in enumerate(n for n in found if found[n]['kind'] in PICTURED)
        for figure in _figure(workdir, f'variable_{k}', f'Images by class and {name}')
    ]
    yield Section('What goes with the class', text, tables, drawn)


def _by_strength(results: Mapping[str, Any]) -> list[str]:
    """Variables: bias variables first, then those that go most with the class."""
    found, reference = results['variables'], results['strengths']
    kinds = (*PICTURED, 'file', 'column')
    return sorted(found, key=lambda name: (kinds.index(found[name]['kind']), -reference[name]))


def _value_table(name: str, results: Mapping[str, Any]) -> Table:
    """Images of each value by split; the classes of those in all splits together."""
    classes, block = results['data']['classes'], results['variables'][name]['splits']
    rows = []
    for value in next(iter(block.values()))['values']:
        cells = [one['values'][value] for one in block.values()]
        counts = {c: sum(cell[c] for cell in cells) for c in classes}
        total = sum(counts.values())
        shares = [_share(counts[c], total) for c in classes]
        rows.append([value, *(sum(cell.values()) for cell in cells), total, *shares])
    unknown = [one['unknown'] for one in block.values()]
    rows.append(['unknown', *unknown, sum(unknown), *('' for _ in classes)])
    return Table(f'{name}: images by split, and by class', [name, *block, 'all', *classes], rows)


def _look(results: Mapping[str, Any], workdir: Path) -> Iterator[Section]:
    colour = results['colour']
    rows = [[name, *(f'{value:.4f}' for value in colour[name])] for name in ('mean', 'std')]
    caption = f'Channels of {colour["images"]} images of {colour["rows"]}, from 0 to 1'
    tables = [Table(caption, ['', 'red', 'green', 'blue'], rows)]
    rows = [[name, *rgb] for name, rgb in colour['classes'].items()]
    tables.append(Table('Mean colour of each class', ['class', 'red', 'green', 'blue'], rows))
    text = 'For --config.data.mean and --config.data.std of training, at the image size used here.'
    drawn = [
        *_figure(workdir, 'means', 'Mean image of each class, and below it its mean colour'),
        *_figure(workdir, 'classes', 'Images of each class, evenly over the rows'),
    ]
    yield Section('What it looks like', text, tables, drawn)
