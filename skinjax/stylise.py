"""Kind 'generate' with a style: images of a data set on skin of another tone, as one that trains.

Every image of `config.split` passes the editors of `config.chain` and then `style`, and is judged
beside its original (`styling/gate.py`). Beside what kind 'generate' always writes stand
`rejected.csv` and `rejected/`, the images that were refused and why, `per_image/gate.csv`, the
measures of all, `trained_on.csv`, the rows whose lesions are shown (no split may hold them where
the images are added), and `judged.jsonl`, which a stopped run continues from. Columns of the table:
`synthetic` (1), `content` (id of the original), what the editor and the gate say, `config` (hash)
and `seed`, and those of the original but for its skin tone.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax import editing, making, report, rundir
from skinjax.data import balancing, generated, groups, images, mixing, pipeline, writing
from skinjax.data.parallel import Stopped, ordered
from skinjax.data.records import UNKNOWN, DataSet, Records, choices
from skinjax.editors import Example, style
from skinjax.engine.writer import jsonable, read_json, write_atomic, write_json
from skinjax.styling import gate as style_gate
from skinjax.styling import report as style_report
from skinjax.styling.judges import Judges

FREE = ('workers',)  # fields that do not change what is written
JOURNAL = 'judged.jsonl'
SKIN = re.compile('ita|fst|fitz|skin')  # begins names of variables that recolouring makes untrue
NO_MASK = 'no lesion mask: use data that have one, or --config.chain=segment with a run of it'

Row = dict[str, Any]


def run(config: Any, workdir: Path) -> dict[str, Any]:
    """Style the images of `config.data`; the same command continues after a stop.

    Returns:
        The contents of results.json: under 'data' the classes and rows, and what
        `style_report.summary` says.

    Raises:
        ValueError: the directory holds something else, an option is impossible, the source or an
            image cannot be read, or all images were rejected.
        FileNotFoundError: an image, or a run that is needed, does not exist.
        SystemExit: after SIGTERM or Ctrl-C; what is written stays.
    """
    _check(config)
    if rundir.done(config, workdir, FREE):
        print(f'{workdir} is done: {workdir}/report.html (delete it to run again)', flush=True)
        return read_json(workdir / 'results.json')
    styled = _editor(config)
    source = configs.find('data', config.data.name)
    data = groups.load(source.build, config.data, config.seed, training=False)
    contents = _contents(config, data)
    judges = Judges(config, data)
    with rundir.lock(workdir):
        rundir.claim(config, workdir, FREE)
        rows = _make(config, data, contents, styled, judges, workdir)
        used = np.array([not row['reason'] for row in rows])
        style_report.write_tables(workdir, rows)
        style_report.draw(workdir, contents, rows, config)
        if not used.any():
            raise ValueError(
                f'all {len(rows)} images were rejected (see {workdir}/rejected.csv), such as '
                f'{rows[0]["content"]!r}: {rows[0]["reason"]}'
            )
        made = _data(config, data, contents, rows, workdir)
        writing.write(made, workdir)
        mixing.write_trained_on(workdir, contents.select(used))
        results = {'data': made.describe(), 'seed': config.seed, **style_report.summary(rows)}
        write_json(workdir / 'results.json', results)
        report.build_run_report(workdir, made)
        write_atomic(workdir / 'DONE', f'{int(used.sum())} images\n')
    print(
        f'{style_report.told(results)}: --config.data.add_generated={workdir}\n'
        f'report: {workdir}/report.html',
        flush=True,
    )
    return results


def _check(config: Any) -> None:
    for field, least in {'n': 0, 'workers': 0, 'batch_size': 1}.items():
        if config[field] < least:
            raise ValueError(f'config.{field} must be at least {least}, found {config[field]}')
    for field in ('purify', *mixing.FIELDS):
        if config.data[field]:
            raise ValueError(
                f'config.data.{field} is {config.data[field]!r}: the images of the source alone '
                'are styled; name editors that come first in config.chain'
            )
    style_gate.check(config.gate)


def _contents(config: Any, data: DataSet) -> Records:
    """The rows whose images are styled: real ones, evenly over the split."""
    if config.split not in data.splits:
        raise ValueError(f'config.split is {config.split!r}; {choices(config.split, data.splits)}')
    records = data.splits[config.split]
    records = records.select(~records.flagged(balancing.SYNTHETIC))
    if not len(records):
        raise ValueError(f'config.split: {config.split!r} has generated images alone')
    count = min(config.n or len(records), len(records))
    return records.select(np.unique(np.linspace(0, len(records) - 1, count).astype(int)))


@dataclasses.dataclass(frozen=True)
class Made:
    """One image before and after; `found` is what its row will say."""

    before: Example
    after: Example | None
    found: Row


Styled = Callable[[Sequence[Example]], list[Made]]


def _editor(config: Any) -> Styled:
    """Examples as `config.chain` leaves them, and styled."""
    first, last = editing.chain(config), editing.built('style', config.style)
    masked = config.style.method != 'original'

    def styled(examples: Sequence[Example]) -> list[Made]:
        found = first(examples)
        fit = [not masked or ('mask' in one and bool(one['mask'].any())) for one in found]
        after = iter(last([one for one, fits in zip(found, fit, strict=True) if fits]))
        return [
            _measured(one, next(after)) if fits else Made(one, None, {'reason': NO_MASK})
            for one, fits in zip(found, fit, strict=True)
        ]

    return styled


def _measured(before: Example, after: Example) -> Made:
    """What the editor and the gate say of an image."""
    facts = style.facts(after)
    asked: tuple[float, float] | None = tuple(facts['asked']) if facts['asked'] else None
    told = {'photo': facts['photo'], 'asked_ita': facts['ita']}
    told |= dict(zip(('asked_low', 'asked_high'), asked or (None, None), strict=True))
    if facts['reason']:
        return Made(before, None, {**told, 'reason': facts['reason']})
    nothing = np.zeros(before['image'].shape[:2], np.uint8)
    mask = before.get('mask', nothing) > 0
    return Made(
        before, after, told | style_gate.measure(before['image'], after['image'], mask, asked)
    )


def _make(
    config: Any, data: DataSet, contents: Records, styled: Styled, judges: Judges, workdir: Path
) -> list[Row]:
    """Writes the images that may be used, and those that may not; one row for each content."""
    journal = workdir / JOURNAL
    rows = _read(journal, len(contents), config.batch_size)
    names = writing.file_names([f'{name}-styled' for name in contents.ids.tolist()], 90)
    labels = [data.classes[label] for label in contents.labels]
    size, batch = config.data.image_size, config.batch_size

    def work(first: int) -> list[Made]:
        some = range(first, min(first + batch, len(names)))
        return styled([pipeline.read_row(contents, row, size) for row in some])

    firsts = range(len(rows), len(names), batch)
    made = ordered(work, firsts, _workers(config))
    with (
        making.stoppable(len(names), len(rows)) as (told, stopped),
        contextlib.closing(made) as chunks,
        journal.open('a', encoding='utf-8') as file,
    ):
        for chunk in chunks:
            at = slice(len(rows), len(rows) + len(chunk))
            _judge(chunk, judges, labels[at])
            for one, name, row in zip(chunk, names[at], range(at.start, at.stop), strict=True):
                known = {'id': name, 'content': str(contents.ids[row]), 'label': labels[row]}
                rows.append(_written(config, one, known, workdir))
                file.write(json.dumps(rows[-1]) + '\n')
            file.flush()
            told(len(rows))
            if stopped():
                raise Stopped
    return rows


def _workers(config: Any) -> int:
    """Threads; networks use all cores by themselves."""
    return config.workers or (1 if config.style.method != 'colour' else os.cpu_count() or 1)


def _judge(made: Sequence[Made], judges: Judges, labels: Sequence[str]) -> None:
    """Adds what needs other images, or a network."""
    some = [(one, one.after, name) for one, name in zip(made, labels, strict=True) if one.after]
    before = [one.before['image'] for one, _, _ in some]
    after = [example['image'] for _, example, _ in some]
    for (one, *_), more in zip(some, judges(before, after, [x[2] for x in some]), strict=True):
        one.found.update(more)


def _written(config: Any, one: Made, known: Row, workdir: Path) -> Row:
    """The row of an image, which is written first."""
    reason = one.found.get('reason', '')
    if one.after is not None:
        reason = '; '.join(style_gate.reasons(one.found, config.gate))
        kept = {name: one.after[name] for name in ('image', 'mask') if name in one.after}
        if reason:
            kept.pop('mask', None)
        writing.write_images(
            kept, workdir / style_report.REJECTED if reason else workdir, known['id']
        )
    return jsonable({**known, **one.found, 'reason': reason})


def _read(journal: Path, total: int, batch: int) -> list[Row]:
    """The rows of a journal, without those of a batch that a killed run has begun.

    So images are styled in the same batches, however often the work is stopped.
    """
    lines = journal.read_text('utf-8').split('\n')[:-1] if journal.exists() else []
    if len(lines) < total:
        lines = lines[: len(lines) // batch * batch]
    write_atomic(journal, ''.join(f'{line}\n' for line in lines))
    return [json.loads(line) for line in lines]


def _data(
    config: Any, data: DataSet, contents: Records, rows: Sequence[Row], workdir: Path
) -> DataSet:
    """The images that may be used as a data set, with where they come from."""
    used = [row for row in rows if not row['reason']]
    records = contents.select(np.array([not row['reason'] for row in rows]))
    ids = np.array([row['id'] for row in used])
    size = config.data.image_size

    def read(row: int) -> dict[str, np.ndarray]:
        return {'image': images.decode(workdir / writing.IMAGES / f'{ids[row]}.png', size)}

    settings = configs.to_json(config)
    text = json.dumps({k: v for k, v in settings.items() if k not in FREE}, sort_keys=True)
    told = {name: None for row in used for name in row if name not in ('id', 'label', 'reason')}
    columns = {
        **{name: cells for name, cells in records.columns.items() if not SKIN.match(name)},
        **making.source_images(records, config.data.root),
        balancing.SYNTHETIC: np.ones(len(used), np.int32),
        **{name: np.array([style_report.cell(row.get(name)) for row in used]) for name in told},
        'method': np.full(len(used), config.style.method),
        'config': np.full(len(used), hashlib.sha256(text.encode()).hexdigest()[:12]),
        'seed': np.full(len(used), config.seed),
    }
    bias = {
        name: np.full_like(codes, UNKNOWN) if SKIN.match(name) else codes
        for name, codes in records.bias.items()
    }
    kept = dataclasses.replace(records, ids=ids, bias=bias, read=read, columns=columns, files=None)
    about = {'style': settings['style'], 'trained_on': config.data.name, 'image_size': size}
    if 'geometry' in config.data:
        about['geometry'] = config.data.geometry
    info = {generated.FACT: about}
    return DataSet('styled', data.classes, data.bias, {config.split: kept}, info=info)
