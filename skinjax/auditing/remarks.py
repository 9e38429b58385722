"""What a reader must know before believing what insertions and removals are said to do."""

from collections.abc import Sequence

import numpy as np

from skinjax.auditing.switches import Called

FEW = 100  # images, below which a remark says so
LEAST = 6  # groups that turn the same way, below which no test of signs can reach p = 0.05


def remarks(called: Sequence[Called], classes: Sequence[str]) -> list[str]:
    """What a reader must know before believing the figures, in sentences."""
    labels = called[0].clean.labels
    found = []
    for one in called:
        clean = one.clean
        name = one.classifier
        said = np.unique(clean.predicted(one.threshold))
        if np.ptp(clean.scores, axis=0).max() == 0:
            tables = [table for masks in one.biased.values() for table in masks]
            always = tables and all(np.array_equal(t.scores, clean.scores) for t in tables)
            more = ', and with every artefact: none of them moves it' if always else ''
            found.append(f'{name} says the same of all images as they are{more}.')
        elif len(said) == 1:
            found.append(
                f'{name} calls all images {classes[said[0]]!r}: few predictions may switch '
                'although probabilities move.'
            )
    if len(present := np.unique(labels)) == 1:
        found.append(
            f'All images are {classes[present[0]]!r}: precision, recall and F1 say little, and '
            'nothing is known of the other classes.'
        )
    if len(labels) < FEW:
        found.append(
            f'There are {len(labels)} images only: one switch is {1 / len(labels):.1%} of them, '
            f'and fewer than {LEAST} predictions of different patients or lesions '
            'that turn wrong cannot reach p = 0.05.'
        )
    return found
