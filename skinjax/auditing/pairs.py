"""Counterfactual pairs that the data bring: the same images without and with an artefact."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skinjax.auditing import insertion, paired, switch_tables
from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.switches import Called, Row
from skinjax.document import Section
from skinjax.predictions import Predictions

_TEXT = (
    'Splits of the data that differ by an artefact alone, drawn when the images were made: it '
    'looks as it does in these data; one that an editor inserts may look otherwise.'
)


def compared(
    one: Classifier, tables: Mapping[str, Predictions], section: Any, workdir: Path
) -> tuple[list[Row], list[Section]]:
    """`switch_summary.summary` of every pair of `one.data`, and a section where there is one.

    Args:
        one: the classifier.
        tables: split -> what it says of it.
        section: with `bootstrap` and `seed`.
        workdir: for pair_ARTEFACT.csv.

    Returns:
        Rows with `of_data`, and the section.
    """
    rows = []
    for artefact, (without, inserted) in one.data.pairs.items():
        if not {without, inserted} <= set(tables):
            continue
        at = dataclasses.replace(one, records=one.data.splits[without])
        called = Called(one.name, one.threshold, tables[without], {artefact: [tables[inserted]]})
        path = workdir / f'pair_{artefact}.csv'
        rows += [
            row | {'of_data': True} for row in insertion.summarised([called], at, section, path)
        ]
    if not rows:
        return [], []
    paired.correct(rows)
    shown = switch_tables.tables(rows, 'Predictions that switch between the splits of a pair')
    return rows, [Section('Artefacts of the data', f'{_TEXT}\n\n{insertion.TEXT}', shown)]
