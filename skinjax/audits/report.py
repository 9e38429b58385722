"""The audit report of one classifier: how well it does, what its features know, what moves its
predictions, what it looks at, and what to do about it.

One page for people (report.html) and the same as numbers (results.json):

    {"model": NAME, "classes": [...], "threshold": {"value": 0.4}, "constant": false,
     "split": SPLIT, "flag_split": SPLIT, "images": {CLASS: n}, "flags": {FLAG: {detected, known}},
     "findings": [{"severity", "about", "text", "numbers"}],          advice.py
     "splits": {SPLIT: evaluate_table(...)}, "gaps": [...],            performance.py
     "leaks": {"reason", "variables": {FLAG: {...}}},                  leakage.py
     "pairs": [...],                                                   pairs.py
     "counterfactual": {...},                                          counterfactual.py
     "clusters": {"reason", "explainer", "n", "empty", ...},           looking.py
     "data": {...}, "seed": 0}
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax import config as configs
from skinjax.audits import (
    advice,
    classifiers,
    counterfactual,
    leakage,
    looking,
    pairs,
    performance,
    probe,
    summary,
)
from skinjax.audits.classifiers import Classifier
from skinjax.audits.flags import Flags, known_flags
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
    'n': 2000,  # images of flag_split, at most, evenly; 0: all
    'n_inserted': 400,  # images of split that get artefacts, at most, evenly; 0: all
    'n_maps': 400,  # images of flag_split that are explained, at most, evenly; 0: all
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
_LEAST = {'n': 0, 'n_inserted': 0, 'n_maps': 0, 'bootstrap': 0, 'probe_folds': 2, 'cells': 1}
Audit = Callable[[Path], tuple[dict[str, Any], list[Section]]]


def build(config: Any) -> Audit:
    """The audit of a run.

    Raises:
        ValueError: no run is named, or an option is out of range. Later: as `classifiers.of_run`.
        FileNotFoundError: the run does not exist.
    """
    if not config.init_from:
        raise ValueError('there is nothing to audit: give --config.init_from=DIRECTORY of a run')
    check(config)

    def audit(workdir: Path) -> tuple[dict[str, Any], list[Section]]:
        name = Path(config.init_from).resolve().name
        return examined(classifiers.of_run(name, config), config, workdir)

    return audit


def check(config: Any) -> None:
    """ValueError or FileNotFoundError for an option that is out of range."""
    for field, bound in _LEAST.items():
        if config[field] < bound:
            raise ValueError(f'config.audit.{field} is {config[field]}, expected at least {bound}')
    if not config.probes or (unknown := [k for k in config.probes if k not in probe.KINDS]):
        wrong = unknown[0] if config.probes else ''
        raise ValueError(f'config.audit.probes: no {wrong!r}; {choices(wrong, probe.KINDS)}')
    counterfactual.check(_edits(config), 'config.audit.counterfactual')
    looking.check(config.clusters)


def _edits(config: Any) -> Any:
    """The options of `counterfactual.examined`."""
    more = {'seed': config.seed, 'bootstrap': config.bootstrap}
    return configs.make({**config.counterfactual, **more})


def examined(one: Classifier, config: Any, workdir: Path) -> tuple[dict[str, Any], list[Section]]:
    """The audit of any classifier: results, and sections of the report.

    Args:
        one: the classifier.
        config: DEFAULTS; those of the run are not read.
        workdir: where tables and figures go.

    Raises:
        ValueError: no such split.
    """
    flagged = _flagged(one, config)
    flags = known_flags(
        flagged, one.data.bias, np.arange(len(flagged)), config.threads if config.detect else 0
    )
    _tell('performance')
    table, features = one.say(flagged)
    tables = _tables(one, flag_split(one, config), workdir)
    results, judged = _judged(one, table, tables, flags, config, workdir)
    _tell('probes of what the features know')
    leaks = leakage.leaked(features, flagged, flags, config.probes, config.probe_folds)
    results['leaks'] = leaks
    leaked = leakage.sections(leaks, results['flag_split'], workdir)
    _tell('insertion and removal of artefacts')
    some = dataclasses.replace(one, records=_some(one.records, config.n_inserted))
    results['pairs'], own = pairs.compared(one, tables, config, workdir)
    results['counterfactual'], moved = counterfactual.examined(_edits(config), [some], workdir)
    _tell('maps and their clusters')
    rows = looking.some(len(flagged), config.n_maps)
    results['clusters'], looked = looking.looked(
        one, flagged.select(rows), flags.select(rows), config, workdir
    )
    results |= {'data': one.data.describe(), 'seed': config.seed}
    results = jsonable(results)
    findings = advice.advise(results)
    results['findings'] = [dataclasses.asdict(finding) for finding in findings]
    parts = [[summary.section(results, findings)], judged, leaked, [*own, *moved], looked]
    return results, _numbered([*parts, [_facts(one, results)]])


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


def _flagged(one: Classifier, config: Any) -> Records:
    """The images whose flags are compared."""
    records = classifiers.split_of(one.data, flag_split(one, config), 'flag_split')
    return _some(records, config.n)


def flag_split(one: Classifier, config: Any) -> str:
    """The name of the split whose flags are compared."""
    return config.flag_split or next(
        (name for name in ('balanced', config.split, 'test', 'plain') if name in one.data.splits),
        list(one.data.splits)[-1],
    )


def _some(records: Records, most: int) -> Records:
    return records.select(looking.some(len(records), most))


def _tables(one: Classifier, name: str, workdir: Path) -> dict[str, Predictions]:
    """What the classifier says of all splits but the training images, and of split `name`."""
    judged = dict.fromkeys([*(split for split in one.data.splits if split != 'train'), name])
    tables = {split: one.predict(one.data.splits[split]) for split in judged}
    for split, table in tables.items():
        table.write_csv(workdir / 'predictions' / f'{split}.csv')
    return tables


def _judged(
    one: Classifier,
    here: Predictions,
    tables: Mapping[str, Predictions],
    flags: Flags,
    config: Any,
    workdir: Path,
) -> tuple[dict[str, Any], list[Section]]:
    """Facts of the model, its performance, and whether it is the same where flags differ."""
    data, name = one.data, flag_split(one, config)
    classes = data.classes
    known = {flag: int((codes >= 0).sum()) for flag, codes in flags.codes.items()}
    results = {
        'model': one.name,
        'classes': list(classes),
        'threshold': {'value': one.threshold},
        'constant': bool(np.ptp(here.scores, axis=0).max() == 0),
        'flag_split': name,
        'images': {of: int((here.labels == k).sum()) for k, of in enumerate(classes)},
        'flags': {f: {'detected': f in flags.detected, 'known': n} for f, n in known.items()},
        'splits': performance.measured(tables, classes, data.bias, one.threshold, config.bootstrap),
        'gaps': performance.gaps(here, flags, classes, one.threshold),
    }
    return results, list(performance.sections(results, tables, workdir))


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
