"""What a classifier looks at: maps of its images, their clusters, and a scatter to walk through."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from skinjax import config as configs
from skinjax.auditing import clusters, occlusion, scatter
from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.seen import Flags, Part, Seen
from skinjax.data.records import Records
from skinjax.document import Section
from skinjax.predictions import Predictions

METHODS = ('spray', 'gebi')
_OWN = ('maps', 'by', 'n', 'detect', 'threads', 'seed')  # fields that the audit decides
_MAPS = (
    'Of {} images a map says which pixels speak for the class that is called ({}; {} maps are '
    'zero). Images that are called differently are divided apart.'
)
_SURE = (
    ' Of {} of the {} images the model is so sure (beyond a probability of 0.999999) that covering '
    'a part may change what it says unseen: their maps tell less than it knows.'
)
_UNCHECKED = (
    ' Whether the maps depend on what was learned was not checked here: kind `explain` compares '
    'them with those of random weights.'
)
_SCATTER = (
    'A point is an image; images are near each other where their maps are alike, as far as two '
    'dimensions can show it (t-SNE). Images that are called differently were arranged apart, side '
    'by side: distances between them mean nothing.'
)


def options(method: str, **fields: Any) -> dict[str, Any]:
    """The section `clusters` of the audit, for one of METHODS.

    Raises:
        ValueError: an unknown field.
    """
    values = configs.plugin('audits', method, **fields)
    return {name: value for name, value in values.items() if name not in _OWN}


def check(section: Any) -> Any:
    """The whole config of the clusters.

    Raises:
        ValueError: an unknown method, fields of another one, or an option out of range.
    """
    if section.name not in METHODS:
        raise ValueError(f'config.audit.clusters.name is {section.name!r}: spray or gebi')
    fields = {name: section[name] for name in section if name != 'name'}
    values = configs.plugin('audits', section.name, **fields)
    config = configs.make({**values, 'maps': 'those of the audit', 'n': 0, 'detect': False})
    clusters.check(config)
    configs.find('audits', section.name).divider(config)
    return config


def looked(
    one: Classifier,
    records: Records,
    flags: Flags,
    table: Predictions,
    section: Any,
    workdir: Path,
) -> tuple[dict[str, Any], list[Section]]:
    """Clusters of the maps of some images: a block of results.json, and sections of a report.

    The class that is called is explained, by `one.explain`, or by occlusion where it has none.

    Args:
        one: the classifier.
        records: the images.
        flags: what is known of them.
        table: what the classifier says of them.
        section: options of the audit 'report'.
        workdir: where tables and figures go.

    Raises:
        ValueError: a map that is not finite.
    """
    config = check(section.clusters)
    config.seed = section.seed
    seen, block = _seen(one, records.cached(), flags, table, section)
    unseen = _SURE.format(block['sure'], block['n']) if block.get('sure') else ''
    unseen += ''.join(f' {remark[0].upper()}{remark[1:]}.' for remark in block.get('told', ()))
    unseen += _UNCHECKED if one.remarks else ''
    heading = 'What the model looks at'
    if block['empty'] == block['n']:
        reason = (
            f'All {block["n"]} maps are zero everywhere: nothing that was covered or followed back '
            'changes what the model says, so there is nothing to divide into clusters.'
        )
        return block | {'reason': reason + unseen}, [Section(heading, reason + unseen)]
    method = configs.find('audits', section.clusters.name)
    found, sections, parts = clusters.examined(
        config, seen, method.divider(config), method.TEXT, workdir, flags
    )
    if not parts:
        reason = f'There are too few images to divide into clusters: {" ".join(found["remarks"])}'
        return block | found | {'reason': reason}, [Section(heading, reason)]
    told = _MAPS.format(block['n'], block['explainer'].replace('_', ' '), block['empty'])
    first = dataclasses.replace(sections[0], text=f'{told}{unseen}\n\n{sections[0].text}')
    every = Section('Every image', _SCATTER, parts=[_scatter(parts, seen, flags)])
    return block | found | {'reason': None}, [first, every, *sections[1:]]


def _seen(
    one: Classifier, records: Records, flags: Flags, table: Predictions, section: Any
) -> tuple[Seen, dict[str, Any]]:
    """Maps and their images, and what they are."""
    called = table.predicted(one.threshold)
    if one.explain is None:
        more = {'sure': int(occlusion.sure(table, called).sum())}
        name, cells = 'occlusion', section.cells
        heat = occlusion.occlusion(one.say, records, called, cells, table)
    else:
        name, heat = section.explainer.name, one.explain(records, called)
        more = {'told': [*one.remarks(records, called)] if one.remarks else []}
    if not np.isfinite(heat).all():
        bad = int(np.flatnonzero(~np.isfinite(heat).all(axis=(1, 2)))[0])
        raise ValueError(f'the map of image {str(records.ids[bad])!r} is not finite')
    scale = np.maximum(heat.max(axis=(1, 2)), -heat.min(axis=(1, 2)))
    heat /= np.where(scale > 0, scale, 1)[:, None, None]
    maps, signed = heat.astype(np.float16), bool((heat < 0).any())
    chances = np.concatenate([1 - table.scores, table.scores], 1) if table.binary else table.scores
    score = chances[np.arange(len(table)), called]
    columns = {'target': called, 'predicted': called, 'score': score, 'scale': scale}
    table = Predictions(table.ids, table.labels, table.scores, flags.codes, columns)
    names = {name: tuple(of) for name, of in flags.names.items()}
    source = {'explainer': name, 'model': one.name}
    seen = Seen(maps, signed, table, records, tuple(one.data.classes), names, source)
    return seen, {**source, 'n': len(table), 'empty': int((scale == 0).sum()), **more}


def _scatter(parts: Sequence[Part], seen: Seen, flags: Flags) -> Any:
    rows = np.concatenate([part.rows for part in parts])
    places = [_unit(part.view) + np.array([1.15 * k, 0]) for k, part in enumerate(parts)]
    table = seen.table
    called, labels = table.columns['predicted'][rows], table.labels[rows]
    columns: Mapping[str, list[str]] = {
        'cluster': [_cluster(part, k) for part in parts for k in part.clustering.labels.tolist()],
        'called': [seen.classes[k] for k in called],
        'true class': [seen.classes[k] for k in labels],
        'called rightly': ['yes' if right else 'no' for right in called == labels],
        **{name: [flags.text(name, row) for row in rows.tolist()] for name in flags.codes},
    }
    return scatter.view(
        np.concatenate(places),
        lambda k: seen.records.read(int(rows[k]))['image'],
        lambda k: seen.maps[rows[k]],
        columns,
        [str(name) for name in table.ids[rows]],
        seen.signed,
    )


def _cluster(part: Part, number: int) -> str:
    return f'{part.name} {number}' if number >= 0 else f'{part.name}, without relevance'


def _unit(view: Float[np.ndarray, 'n 2']) -> Float[np.ndarray, 'n 2']:
    """Coordinates scaled to a square of side 1; zeros where all are the same."""
    spread = np.ptp(view, axis=0)
    return (view - view.min(axis=0)) / np.where(spread > 0, spread, 1)
