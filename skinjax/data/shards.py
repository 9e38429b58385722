"""Decoded rows as ArrayRecord files, in the layout of TensorFlow Datasets, and back.

    shards/<name>-train.array_record-00000-of-00002 ...    dataset_info.json    features.json
    shards.json

A record is one serialised example. `tfds.builder_from_directory`, grain and `prepared.py` read the
files; TensorFlow is needed for none of it. Which rows a file holds and every byte of it follow from
the data set alone, and a file appears only when it is whole: a run that was killed leaves a part of
the files, and the next one writes the others. `shards.json` says what each file must be.

tfds has no builder that goes on after a kill or writes the same bytes twice (protocol buffers are
serialised in an order that changes with the process), so the files are written here, and tfds
writes its own description of them.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from array_record.python import array_record_module as array_record  # pyright: ignore

from skinjax.data.examples import NAMES, Form, serialised
from skinjax.data.parallel import Stopped, ordered
from skinjax.data.records import DataSet, Records
from skinjax.engine.writer import appearing, read_json, write_json

FOLDER, FACTS = 'shards', 'shards.json'
# JPEG and PNG do not become smaller, and one record a block is what random access asks for.
_OPTIONS = 'group_size:1,uncompressed'


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file and the rows of a split that it holds."""

    name: str
    split: str
    rows: range


def plan(dataset: DataSet, size: int) -> list[Shard]:
    """Files of at most `size` rows for every split, in its order.

    Raises:
        ValueError: a split or bias variable whose name tfds cannot use.
    """
    for split in dataset.splits:
        if not re.fullmatch(r'\w*[A-Za-z0-9]\w*', split, re.ASCII) or split == 'all':
            raise ValueError(f'split {split!r}: expected letters, digits and _ (and not "all")')
    for name in dataset.bias:
        if name in NAMES or '/' in name:
            raise ValueError(f'bias variable {name!r} has a name that records cannot use')
    stem = re.sub(r'\W', '_', dataset.name.rpartition('.')[2].lower(), flags=re.ASCII)
    stem = stem if stem[:1].isalpha() else f'data_{stem}'
    shards = []
    for split, records in dataset.splits.items():
        count = -(-len(records) // size)
        for k in range(count):
            rows = range(k * size, min((k + 1) * size, len(records)))
            shards.append(Shard(f'{stem}-{split}.array_record-{k:05d}-of-{count:05d}', split, rows))
    return shards


def write(
    dataset: DataSet,
    shards: Sequence[Shard],
    workdir: Path,
    form: Form,
    facts: Mapping[str, Any],
    *,
    workers: int,
    skip: bool,
    told: Callable[[int], None] = lambda done: None,
    stopped: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Writes the files that are not there yet, rows in order, and returns what is in shards.json.

    Rows are read and encoded by threads (OpenCV leaves the interpreter lock alone), a few more of
    them ahead than there are threads, so that memory does not grow with the data.

    Args:
        dataset: whose rows `shards` divides.
        shards: from `plan`.
        workdir: gets `shards/` and `shards.json`.
        form: of the pixels.
        facts: of the files that are there, from `kept`.
        workers: threads.
        skip: whether rows that cannot be read are left out.
        told: called with the number of rows done.
        stopped: asked after every row.

    Returns:
        File name -> 'split', 'records', 'bytes', 'sha256', 'source' (digest of ids, labels, bias
        and groups), 'masks' (records with one) and 'skipped' (row of the split, error).

    Raises:
        Stopped: as soon as `stopped()` is true.
        OSError, ValueError: a row that cannot be read, without `skip`; names it.
    """
    import cv2

    cv2.setNumThreads(0)  # the threads below use the cores: OpenCV's own get in their way
    facts = dict(facts)
    missing = [shard for shard in shards if shard.name not in facts]
    done = sum(len(shard.rows) for shard in shards if shard.name in facts)

    def work(job: tuple[Shard, int]) -> tuple[bytes, bool] | str:
        shard, row = job
        try:
            return serialised(dataset.splits[shard.split], row, form)
        except (OSError, ValueError) as error:
            if not skip:
                raise
            return str(error)

    jobs = ((shard, row) for shard in missing for row in shard.rows)
    with contextlib.closing(ordered(work, jobs, workers)) as results:
        for shard in missing:
            source = _digest(dataset.splits[shard.split], shard)
            with appearing(workdir / FOLDER / shard.name) as place:
                fact = _write_file(place, shard, results, told, stopped, done)
            facts[shard.name] = {'split': shard.split, 'source': source, **fact}
            done += len(shard.rows)
            in_order = {s.name: facts[s.name] for s in shards if s.name in facts}
            write_json(workdir / FACTS, in_order)
    return {shard.name: facts[shard.name] for shard in shards}


def kept(workdir: Path, dataset: DataSet, shards: Sequence[Shard]) -> dict[str, Any]:
    """What shards.json says about the files that are whole; all others are removed."""
    folder, known = workdir / FOLDER, read_json(workdir / FACTS)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {}
    for shard in shards:
        fact = known.get(shard.name, {})
        same = fact.get('source') == _digest(dataset.splits[shard.split], shard)
        if same and not damage(workdir, shard.name, fact, contents=True):
            facts[shard.name] = fact
    for path in folder.iterdir():
        if path.name not in facts:
            path.unlink()  # of a killed run, or of other data
    return facts


def damage(workdir: Path, name: str, fact: Mapping[str, Any], *, contents: bool = False) -> str:
    """What is wrong with a file of shards.json, '' if nothing is.

    Args:
        workdir: with `shards/`.
        name: of the file.
        fact: what shards.json says about it.
        contents: whether all of the file is read and compared, or its size alone.
    """
    path = workdir / FOLDER / name
    if not path.is_file():
        return f'{path} is missing'
    if (size := path.stat().st_size) != fact['bytes']:
        return f'{path} has {size} bytes, but {FACTS} says {fact["bytes"]}'
    if contents and _sha256(path) != fact['sha256']:
        return f'{path} has other contents than {FACTS} says'
    return ''


def _write_file(
    place: Path,
    shard: Shard,
    results: Iterator[tuple[bytes, bool] | str],
    told: Callable[[int], None],
    stopped: Callable[[], object],
    done: int,
) -> dict[str, Any]:
    records = masks = 0
    skipped: list[tuple[int, str]] = []
    file = array_record.ArrayRecordWriter(str(place), _OPTIONS)
    try:
        for row, result in zip(shard.rows, results, strict=False):
            if stopped():
                raise Stopped
            if isinstance(result, str):
                skipped.append((row, result))
            else:
                file.write(result[0])
                records, masks = records + 1, masks + result[1]
            told(done + row - shard.rows.start + 1)
    finally:
        file.close()
    facts = {'records': records, 'bytes': place.stat().st_size, 'sha256': _sha256(place)}
    return {**facts, 'masks': masks, 'skipped': skipped}


def _digest(records: Records, shard: Shard) -> str:
    """Of everything about the rows of a file but the pixels."""
    rows = slice(shard.rows.start, shard.rows.stop)
    columns = [records.ids, records.groups, records.labels, *records.bias.values()]
    text = json.dumps([*records.bias, *(column[rows].tolist() for column in columns)])
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
