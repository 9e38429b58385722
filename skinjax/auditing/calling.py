"""What classifiers say of images as they are, and of the same with artefacts or without."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from skinjax.auditing.classifiers import Classifier
from skinjax.auditing.switches import Called
from skinjax.data.records import Records
from skinjax.editors import insert
from skinjax.predictions import Predictions

SPREAD = 0.1  # by which frames of different masks differ

Edit = Callable[[Records], Records]  # changes the images of records


def insertions(
    kinds: Sequence[str], masks: int, seed: int, **options: Any
) -> dict[str, list[Edit]]:
    """`masks` insertions of each kind, keyed by the id of the image and `seed` + mask.

    Args:
        kinds: of the editor 'insert'.
        masks: how many.
        seed: of the first.
        options: more of that editor.
    """
    return {
        kind: [
            functools.partial(
                insert.inserted,
                config=insert.options(kind=kind, seed=seed + mask, spread=SPREAD, **options),
            )
            for mask in range(masks)
        ]
        for kind in kinds
    }


def together(classifiers: Sequence[Classifier]) -> list[list[Classifier]]:
    """The classifiers in groups that see the very same pictures (`Classifier.pictures`)."""
    groups: dict[tuple[str, str], list[Classifier]] = {}
    for one in classifiers:
        groups.setdefault((one.pictures, '' if one.pictures else one.name), []).append(one)
    return [*groups.values()]


def call(
    classifiers: Sequence[Classifier],
    edits: Mapping[str, Sequence[Edit]],
    told: Callable[[int], None] = lambda done: None,
    clean: Mapping[str, Predictions] | None = None,
) -> list[Called]:
    """What each classifier says of its images, and of its images after each edit.

    Args:
        classifiers: those of the same pictures share what an edit makes of them.
        edits: name -> one or several edits of that name, the masks.
        told: called with the number of tables made so far.
        clean: classifier -> what it says of the images as they are, where that is known.
    """
    done, plain = 0, dict(clean or {})
    edited: dict[str, dict[str, list[Predictions]]] = {
        one.name: {name: [] for name in edits} for one in classifiers
    }
    for group in together(classifiers):
        for one in group:
            if one.name not in plain:
                plain[one.name] = one.predict(one.records)
                told(done := done + 1)
        for name, masks in edits.items():
            for edit in masks:
                records = edit(group[0].records)
                records = records.cached() if len(group) > 1 else records
                for one in group:
                    edited[one.name][name].append(one.predict(records))
                    told(done := done + 1)
    return [
        Called(one.name, one.threshold, plain[one.name], edited[one.name]) for one in classifiers
    ]


def write(called: Sequence[Called], folder: Path) -> None:
    """Writes every prediction table: FOLDER/CLASSIFIER/clean.csv, and KIND_MASK.csv."""
    for one in called:
        tables: Mapping[str, Predictions] = {'clean': one.clean} | {
            f'{kind}_{mask}': table
            for kind, masks in one.biased.items()
            for mask, table in enumerate(masks)
        }
        for name, table in tables.items():
            table.write_csv(folder / one.classifier / f'{name}.csv')
