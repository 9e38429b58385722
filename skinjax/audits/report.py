"""The audit report of one classifier: how well it does, what its features know, what moves its
predictions, what it looks at, and what to do about it.

One page for people (report.html) and the same as numbers (results.json):

    {"model": NAME, "classes": [...], "threshold": {"value": 0.4}, "constant": false,
     "hard": false (only 0 and 1 are said), "flagged": n (images whose flags are compared),
     "flag_split": SPLIT, "images": {CLASS: n}, "groups": n, "flags": {FLAG: {detected, known}},
     "findings": [{"severity", "about", "text", "numbers"}],          advice.py
     "splits": {SPLIT: evaluate_table(...)}, "recognised": {CLASS: {n, called, value, low, high}},
     "gaps": [...],                                                    performance.py
     "leaks": {"reason", "variables": {FLAG: {...}}},                  leakage.py
     "pairs": [...],                                                   pairs.py
     "counterfactual": {...},                                          counterfactual.py
     "clusters": {"reason", "explainer", "n", "empty", ...},           looking.py
     "data": {...}, "seed": 0}
"""

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax.auditing import (
    advice,
    classifiers,
    leakage,
    looking,
    pairs,
    performance,
    probe,
    said,
    summary,
)
from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.said import Real
from skinjax.auditing.seen import Flags, known_flags
from skinjax.audits import counterfactual
from skinjax.data import choosing
from skinjax.data.records import Records, choices
from skinjax.document import Section, Table
from skinjax.engine.writer import jsonable
from skinjax.predictions import Predictions

DEFAULTS: dict[str, Any] = {
    'init_from': '',  # directory of a finished run
    'root': '',  # replaces data.root of the run
    'devices': 0,  # 0: all
    'split': '',  # of the data, whose images get artefacts; '': test, or else plain
    'flag_split': '',  # whose flags are probed and compared; '': balanced, or else that one
    'n': 2000,  # images of flag_split, at most, by chance; 0: all
    'n_inserted': 400,  # images of split that get artefacts, at most, by chance; 0: all
    'n_maps': 400,  # images of flag_split that are explained, at most, by chance; 0: all
    'detect': True,  # let the detectors look for artefacts too, beside what people have flagged
    'threads': 2,  # of the detectors
    'bootstrap': 1000,
    'probes': probe.KINDS,
    'probe_folds': 5,
    'counterfactual': {**counterfactual.OPTIONS, 'masks': 3, 'strengths': (0.25, 0.5, 1.0)},
    'explainer': configs.plugin('explainers', 'lrp'),
    'cells': 8,  # a side, that are covered one by one where there is no explainer
    'clusters': looking.options('spray'),
    'seed': 0,
}
_LEAST = {'n': 0, 'n_inserted': 0, 'n_maps': 0, 'bootstrap': 100, 'probe_folds': 2, 'cells': 1}
_LEAST |= {'threads': 1}
# What an audit leaves beside its folders.
_WRITTEN = ('DONE', 'results.json', 'report.html', 'clusters.csv', 'enrichment.csv')
_WRITTEN += ('switches.csv', 'strengths.csv', 'removal_*.csv', 'pair_*.csv')
_SAME = 1e-6  # by which the probabilities of a constant model may differ, as rounding does
Audit = Callable[[Path], tuple[dict[str, Any], list[Section]]]


def build(config: Any) -> Audit:
    """The audit of a run.

    Raises:
        ValueError: no run is named, an option is out of range, or as `classifiers.of_run`.
        FileNotFoundError: the run does not exist.
    """
    if not config.init_from:
        raise ValueError('there is nothing to audit: give --config.init_from=DIRECTORY of a run')
    check(config)
    one = classifiers.of_run(Path(config.init_from).resolve().name, config)
    flag_split(one, config)
    return functools.partial(examined, one, config)


def check(config: Any) -> None:
    """ValueError or FileNotFoundError for an option that is out of range."""
    for field, bound in _LEAST.items():
        if config[field] < bound:
            raise ValueError(f'config.audit.{field} is {config[field]}, expected at least {bound}')
    if not config.probes or (unknown := [k for k in config.probes if k not in probe.KINDS]):
        wrong = unknown[0] if config.probes else ''
        raise ValueError(f'config.audit.probes: no {wrong!r}; {choices(wrong, probe.KINDS)}')
    if (edits := _edits(config)).kinds or edits.removal:
        counterfactual.check(edits, 'config.audit.counterfactual')
    looking.check(config.clusters)


def _edits(config: Any) -> Any:
    """The options of `counterfactual.examined`."""
    more = {'seed': config.seed, 'bootstrap': config.bootstrap}
    return configs.make({**config.counterfactual, **more})


def examined(one: Classifier, config: Any, workdir: Path) -> tuple[dict[str, Any], list[Section]]:
    """The audit of any classifier: results, and sections of the report; the first is printed.

    Args:
        one: the classifier.
        config: DEFAULTS; those of the run are not read.
        workdir: where tables and figures go.

    Raises:
        ValueError: no such split.
    """
    _tell('performance')
    name, whole = flag_split(one, config)
    rows = choosing.by_chance(len(whole), config.n, config.seed)
    flagged = whole.select(rows)
    flags = known_flags(
        flagged, one.data.bias, np.arange(len(rows)), config.threads if config.detect else 0
    )
    tables, features = said.ask(one, name, workdir)
    real = said.real(one.data, tables)
    here = real[name].table.select(rows)
    results = _judged(one, here, flags, flagged.groups, real, config)
    judged = [*performance.sections(results, real, workdir)]
    _tell('probes of what the features know')
    known = None if features is None else features[real[name].rows[rows]]
    results['leaks'] = leakage.leaked(known, flagged, flags, config.probes, config.probe_folds)
    leaked = leakage.sections(results['leaks'], name, workdir)
    _tell('insertion and removal of artefacts')
    results['pairs'], own = pairs.compared(one, tables, config, workdir)
    results['counterfactual'], moved = _moved(one, real, config, workdir)
    _tell('maps and their clusters')
    rows = choosing.by_chance(len(flagged), config.n_maps, config.seed)
    results['clusters'], looked = looking.looked(
        one, flagged.select(rows), flags.select(rows), here.select(rows), config, workdir
    )
    results |= {'data': one.data.describe(), 'seed': config.seed}
    results = jsonable(results)
    findings = advice.advise(results)
    results['findings'] = [dataclasses.asdict(finding) for finding in findings]
    print(f'\n{summary.text(results, findings)}\n', flush=True)
    parts = [[summary.section(results, findings)], judged, leaked, [*own, *moved], looked]
    return results, _numbered([*parts, [_facts(one, results)]])


def clear(workdir: Path) -> None:
    """Removes what an earlier audit has left."""
    for name in ('predictions', 'figures'):
        shutil.rmtree(workdir / name, ignore_errors=True)
    for pattern in _WRITTEN:
        for file in workdir.glob(pattern):
            file.unlink()


def _numbered(parts: Sequence[Sequence[Section]]) -> list[Section]:
    """All sections; their headings begin with the number of the part, and of the section in it."""
    return [
        dataclasses.replace(
            section, heading=f'{k}{f".{j}" if len(part) > 1 else ""} {section.heading}'
        )
        for k, part in enumerate(parts, 1)
        for j, section in enumerate(part, 1)
    ]


def _tell(what: str) -> None:
    print(f'audit: {what}', flush=True)


def flag_split(one: Classifier, config: Any) -> tuple[str, Records]:
    """The name of the split whose flags are compared, and its real images.

    Raises:
        ValueError: there is no such split, or it has none.
    """
    name = config.flag_split or next(
        (name for name in ('balanced', config.split, 'test', 'plain') if name in one.data.splits),
        list(one.data.splits)[-1],
    )
    return name, classifiers.split_of(one.data, name, 'flag_split')


def _judged(
    one: Classifier,
    here: Predictions,
    flags: Flags,
    groups: np.ndarray,
    real: Mapping[str, Real],
    config: Any,
) -> dict[str, Any]:
    """Facts of the model, its performance, and whether it is the same where flags differ."""
    data, name, at = one.data, flag_split(one, config)[0], one.threshold
    classes, whole, codes = data.classes, real[name], flags.codes.items()
    known = {f: {'detected': f in flags.detected, 'known': int((v >= 0).sum())} for f, v in codes}
    return {
        'model': one.name,
        'classes': list(classes),
        'threshold': {'value': one.threshold},
        'constant': bool(np.ptp(whole.table.scores, axis=0).max() < _SAME),
        'hard': bool(np.isin(whole.table.scores, (0, 1)).all()),
        'flag_split': name,
        'images': {of: int((whole.table.labels == k).sum()) for k, of in enumerate(classes)},
        'groups': len(np.unique(whole.groups)),
        'flagged': len(here),
        'flags': known,
        'splits': performance.measured(real, classes, data.bias, at, config.bootstrap),
        'recognised': performance.recognised(whole, classes, at),
        'gaps': performance.gaps(here, flags, classes, at, groups),
    }


def _moved(
    one: Classifier, real: Mapping[str, Real], config: Any, workdir: Path
) -> tuple[dict[str, Any], list[Section]]:
    """What insertions and removals do; nothing where none is named."""
    edits = _edits(config)
    if not edits.kinds and not edits.removal:
        return {}, [Section('What moves predictions', 'No artefact was inserted or removed.')]
    rows = choosing.by_chance(len(one.records), config.n_inserted, config.seed)
    known = real.get(classifiers.name_of(one.data, config.split))
    clean = {one.name: known.table.select(rows)} if known else {}
    some = dataclasses.replace(one, records=one.records.select(rows))
    return counterfactual.examined(edits, [some], workdir, clean=clean)


def _facts(one: Classifier, results: Mapping[str, Any]) -> Section:
    rows = [
        ['model', one.name],
        ['classes', ', '.join(one.data.classes)],
        ['operating threshold', one.threshold if len(one.data.classes) == 2 else None],
        ['side of images, pixels', one.size],
        ['flags', ', '.join(results['flags']) or None],
        *([key, value] for key, value in one.data.describe().items() if key != 'classes'),
    ]
    return Section('Model and data', tables=[Table('', ['name', 'value'], rows)])
