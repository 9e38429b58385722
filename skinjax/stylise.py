"""Kind 'generate' with a style: images of a data set on skin of another tone, as one that trains.

Every image of `config.split` passes the editors of `config.chain` and then `style`, and is judged
beside its original (`styling/gate.py`). Beside what kind 'generate' always writes stand
`rejected.csv` and `rejected/`, the images that were refused and why, `per_image/gate.csv`, the
measures of all, `per_image/losses.csv` of style transfer, `trained_on.csv`, the rows whose lesions
are shown (no split may hold them where the images are added), `sources.json`, the digests of
photographs and weights, and `judged.jsonl`, which a stopped run continues from. Columns of the
table: `synthetic` (1), `content` (id of the original), what the editor and the gate say, `config`
(hash) and `seed`, and those of the original but for its skin tone.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax import editing, kinds, making, report, rundir
from skinjax.data import balancing, groups, images, mixing, pipeline, writing
from skinjax.data.parallel import Stopped, ordered
from skinjax.data.records import DataSet, Records, choices
from skinjax.editors import Example, style
from skinjax.engine.writer import jsonable, read_json, write_atomic, write_json
from skinjax.styling import gate as style_gate
from skinjax.styling import photos as style_photos
from skinjax.styling import provenance, styled_data
from skinjax.styling import report as style_report
from skinjax.styling.judges import Judges

FREE = ('workers',)  # fields that do not change what is written
JOURNAL = 'judged.jsonl'
TINY = f'less than {style.SMALLEST} pixels a side'
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
    photos = style_photos.load(config.style.style) if config.style.style else []
    origin = provenance.sources(config, photos)
    with rundir.lock(workdir):
        rundir.claim(config, workdir, FREE)
        provenance.claim(workdir, origin)
        rows = _make(config, data, contents, styled, judges, workdir)
        used = np.array([not row['reason'] for row in rows])
        style_report.write_tables(workdir, rows)
        style_report.draw(workdir, contents, rows, photos)
        if not used.any():
            raise ValueError(
                f'all {len(rows)} images were rejected (see {workdir}/rejected.csv), such as '
                f'{rows[0]["content"]!r}: {rows[0]["reason"]}'
            )
        made = styled_data.dataset(config, data, contents, rows, origin, workdir, FREE)
        writing.write(made, workdir)
        names = {row['photo'] for row in rows if not row['reason']}
        shown = [photo for photo in photos if photo.id in names]
        provenance.write_trained_on(workdir, contents.select(used), shown)
        results = {'data': made.describe(), 'seed': config.seed, **style_report.summary(rows)}
        results['remarks'] += judges.remarks
        results['versions'] = rundir.versions()
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

    def styled(examples: Sequence[Example]) -> list[Made]:
        found = first(examples)
        # The method 'original' needs no mask, but the gate does: it may show another lesion.
        fit = [one for one in found if 'mask' in one and one['mask'].any()]
        after = iter(last(_filled(config, fit)))
        fits = {id(one) for one in fit}
        return [
            _measured(one, next(after)) if id(one) in fits else Made(one, None, {'reason': NO_MASK})
            for one in found
        ]

    return styled


def _filled(config: Any, examples: list[Example]) -> list[Example]:
    """A whole batch where a network styles, which would be compiled anew for each other number."""
    if config.style.method == 'colour' or not examples:
        return examples
    return examples + examples[-1:] * (config.batch_size - len(examples))


def _measured(before: Example, after: Example) -> Made:
    """What the editor and the gate say of an image."""
    facts = style.facts(after)
    asked: tuple[float, float] | None = tuple(facts['asked']) if facts['asked'] else None
    told = {'photo': facts['photo'], 'asked_ita': facts['ita']}
    told |= dict(zip(('asked_low', 'asked_high'), asked or (None, None), strict=True))
    if losses := facts.get('losses'):
        told['losses'] = style_report.thinned(losses)
    if facts['reason']:
        return Made(before, None, {**told, 'reason': facts['reason']})
    pictures = before['image'], after['image']
    return Made(before, after, told | style_gate.measure(*pictures, before['mask'] > 0, asked))


def _make(
    config: Any, data: DataSet, contents: Records, styled: Styled, judges: Judges, workdir: Path
) -> list[Row]:
    """Writes the images that may be used, and those that may not; one row for each content."""
    journal = workdir / JOURNAL
    rows = _judged(journal, len(contents), config.batch_size)
    names = writing.file_names([f'{name}-styled' for name in contents.ids.tolist()], 90)
    labels = [data.classes[label] for label in contents.labels]
    batch = config.batch_size

    def work(first: int) -> list[Made]:
        return _read(config, contents, range(first, min(first + batch, len(names))), styled)

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


def _read(config: Any, contents: Records, rows: Sequence[int], styled: Styled) -> list[Made]:
    """These rows, styled; files that are too small stay as they are."""
    some = {row: pipeline.read_row(contents, row, config.data.image_size) for row in rows}
    fit = [row for row in rows if not _tiny(contents, row)]
    made = dict(zip(fit, styled([some[row] for row in fit]) if fit else [], strict=True))
    return [made.get(row) or Made(some[row], None, {'reason': TINY}) for row in rows]


def _tiny(records: Records, row: int) -> bool:
    """Whether a file has so few pixels that enlarging it, as reading does, shows nothing."""
    if records.files is None:
        return False
    return min(images.header(records.files[row])[1:]) < style.SMALLEST


def _workers(config: Any) -> int:
    """Threads; networks use all cores by themselves."""
    sections = [config.editors[kinds.editor_key(name)] for name in config.chain]
    networks = config.style.method != 'colour' or any('init_from' in each for each in sections)
    return config.workers or (1 if networks else os.cpu_count() or 1)


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


def _judged(journal: Path, total: int, batch: int) -> list[Row]:
    """The rows of a journal, without those of a batch that a killed run has begun.

    So images are styled in the same batches, however often the work is stopped.
    """
    lines = journal.read_text('utf-8').split('\n')[:-1] if journal.exists() else []
    if len(lines) < total:
        lines = lines[: len(lines) // batch * batch]
    write_atomic(journal, ''.join(f'{line}\n' for line in lines))
    return [json.loads(line) for line in lines]
