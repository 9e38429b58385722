"""What kind 'inspect' prints: one screen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skinjax.tables import console_table

_CLASSES = 8  # that fit on a console
_NAMED = 6  # associations
_PROBLEMS = 3


def summary(results: Mapping[str, Any], problems: Sequence[Mapping[str, str]] = ()) -> str:
    """What was found, with the first rows of problems.csv, on one screen."""
    lines = [*_counted(results), *_wrong(results, problems), *_related(results)]
    lines += [f'training refuses it: {text}' for text in results['refused']]
    return '\n'.join(lines)


def _counted(results: Mapping[str, Any]) -> Iterator[str]:
    data, groups_found, files = results['data'], results['groups'], results['files']
    n, parts = sum(data['rows'].values()), results['classes']
    yield (
        f'{data["name"]}: {n} images of {len(data["classes"])} classes in {len(parts)} splits, '
        f'{groups_found["count"]} groups; licence: {data.get("licence", "not stated")}'
    )
    shown = data['classes'][:_CLASSES]
    rows = [
        [split, sum(c.values()), groups_found['splits'][split], *(c[k] for k in shown)]
        for split, c in parts.items()
    ]
    more = len(data['classes']) - len(shown)
    yield console_table(['split', 'images', 'groups', *shown], rows).rstrip()
    if more:
        yield f'({more} more classes are in results.json)'
    if files['sizes']:
        sizes = [f'{size} ({k})' for size, k in [*files['sizes'].items()][:3]]
        others = len(files['sizes']) - len(sizes)
        formats = ', '.join(f'{k} {name}' for name, k in files['formats'].items())
        yield f'files: {formats}; {", ".join(sizes)}' + (f', {others} more' if others else '')
    if results['masks']['count']:
        yield f'masks: {results["masks"]["count"]}, {results["masks"]["empty"]} of them empty'


def _wrong(results: Mapping[str, Any], problems: Sequence[Mapping[str, str]]) -> Iterator[str]:
    counted, found = results['problems'], results['duplicates']
    line = f'files missing: {counted["missing"]}, unreadable: {counted["unreadable"]}'
    yield line + ('; all in problems.csv, the first:' if problems else '')
    for one in problems[:_PROBLEMS]:
        yield f'  {one["id"]}: {one["problem"]}'
    yield (
        f'pairs of duplicates: {found["file"] + found["pixels"]} equal, {found["near"]} near; '
        f'{found["leaks"]} leak between splits ({found["leaks_between_groups"]} unknown to the '
        f'groups), {found["conflicts"]} differ in class'
    )
    divided = results['groups']['divided']
    leaks = sum(one['leak'] for one in divided)
    yield f'groups in several splits: {len(divided)}, of which {leaks} leak'


def _related(results: Mapping[str, Any]) -> Iterator[str]:
    found, strengths = results['variables'], results['strengths']
    ranked = sorted(strengths, key=lambda name: -strengths[name])
    ranked = [name for name in ranked if found[name]['kind'] != 'column']
    where = results['reference']
    if ranked:
        text = ', '.join(f'{name} {strengths[name]:.2f}' for name in ranked[:_NAMED])
        yield f"go with the class (Cramér's V, {where}): {text}"
    pairs = [
        (value, one, other)
        for one, others in results['between'].items()
        for other, value in others.items()
        if {one, other} <= {*ranked}
    ]
    if pairs:
        strongest = sorted(pairs, key=lambda pair: -pair[0])[: _NAMED // 2]
        text = ', '.join(f'{one} and {other} {value:.2f}' for value, one, other in strongest)
        yield f'go with each other: {text}'
    colour = results['colour']
    mean, std = (', '.join(f'{v:.3f}' for v in colour[name]) for name in ('mean', 'std'))
    yield f'channels of {colour["rows"]}: mean ({mean}), std ({std})'
