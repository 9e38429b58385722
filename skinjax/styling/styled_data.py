"""Styled images as a data set: what is known of the originals, but for their skin tone."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax import making
from skinjax.data import balancing, generated, images, writing
from skinjax.data.records import UNKNOWN, DataSet, Records
from skinjax.engine.writer import jsonable
from skinjax.styling import report as style_report

# Is in names of variables that recolouring makes untrue.
SKIN = re.compile(
    r'(?<![a-z])(ita|fst|mst|monk|fitz|tone)(?![a-z])'
    r'|fit[sz]patrick|photo_?type|skin[ _-]?(type|tone|colou?r)|^skin$',
    re.IGNORECASE,
)
KEPT = ('licence', 'left_out', 'purified')  # of what is known of the source
APART = ('id', 'label', 'reason', 'losses')  # of a row, which are no columns


def dataset(
    config: Any,
    data: DataSet,
    contents: Records,
    rows: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Any],
    workdir: Path,
    free: Collection[str] = (),
) -> DataSet:
    """The images that may be used, with where they come from.

    Args:
        config: of kind 'generate' with a style.
        data: the originals.
        contents: the rows of it that were styled.
        rows: what was found of each (`styling/report.py`); those with a reason are left out.
        sources: of `provenance.sources`.
        workdir: where the images are.
        free: fields of the config that do not change them.
    """
    used = [row for row in rows if not row['reason']]
    records = contents.select(np.array([not row['reason'] for row in rows]))
    ids = np.array([row['id'] for row in used])
    size = config.data.image_size

    def read(row: int) -> dict[str, np.ndarray]:
        return {'image': images.decode(workdir / writing.IMAGES / f'{ids[row]}.png', size)}

    told = {name: None for row in used for name in row if name not in APART}
    columns = {
        **{name: cells for name, cells in records.columns.items() if not SKIN.search(name)},
        **making.source_images(records, config.data.root),
        balancing.SYNTHETIC: np.ones(len(used), np.int32),
        **{name: np.array([style_report.cell(row.get(name)) for row in used]) for name in told},
        'method': np.full(len(used), config.style.method),
        'config': np.full(len(used), _fingerprint(config, sources, free)),
        'seed': np.full(len(used), config.style.seed),
    }
    bias = {
        name: np.full_like(codes, UNKNOWN) if SKIN.search(name) else codes
        for name, codes in records.bias.items()
    }
    kept = dataclasses.replace(records, ids=ids, bias=bias, read=read, columns=columns, files=None)
    info = {name: data.info[name] for name in KEPT if name in data.info}
    info[generated.FACT] = _about(config, sources)
    return DataSet('styled', data.classes, data.bias, {config.split: kept}, info=info)


def _fingerprint(config: Any, sources: Mapping[str, Any], free: Collection[str]) -> str:
    """Of all that the images depend on, files behind paths included."""
    settings = {k: v for k, v in configs.to_json(config).items() if k not in free}
    text = json.dumps({**settings, 'sources': sources}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _about(config: Any, sources: Mapping[str, Any]) -> dict[str, Any]:
    """What `data/generated.py` and readers want to know."""
    about = {'style': _resolved(config), 'sources': sources, 'trained_on': config.data.name}
    about['image_size'] = config.data.image_size
    if 'geometry' in config.data:
        about['geometry'] = config.data.geometry
    return about


def _resolved(config: Any) -> dict[str, Any]:
    """The options of the editor that have counted."""
    found = configs.to_json(config)['style']
    if config.style.method == 'colour':
        return {name: value for name, value in found.items() if name != 'transfer'}
    from skinjax.styling import methods

    return {**found, 'transfer': jsonable(dict(methods.resolved(config.style)))}
