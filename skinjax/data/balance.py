"""How classes and bias variables go together in training: counted, skewed or made even."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from skinjax.data.records import DataSet, Records, choices

SAMPLINGS = ('uniform', 'class', 'group')
SKEW_COMPAT = ('', 'sdu')


def cell_counts(
    labels: Int[np.ndarray, ' n'], bias: Int[np.ndarray, ' n'], classes: int, values: int
) -> Int[np.ndarray, 'k s']:
    """Rows of each class and bias value; rows with -1 are not counted."""
    known = (labels >= 0) & (bias >= 0)
    cells = labels[known].astype(np.int64) * values + bias[known]
    return np.bincount(cells, minlength=classes * values).reshape(classes, values)


def associations(records: Records) -> dict[str, float]:
    """Cramér's V of each bias variable with the label, over the rows that know it (0 ... 1)."""
    return {name: cramers_v(records.labels, values) for name, values in records.bias.items()}


def cramers_v(labels: Int[np.ndarray, ' n'], bias: Int[np.ndarray, ' n']) -> float:
    """V = sqrt(χ² / (n (min(rows, columns) - 1))); 0 if either is constant. -1 is left out."""
    from scipy.stats.contingency import association

    if not ((labels >= 0) & (bias >= 0)).any():
        return 0.0
    table = cell_counts(labels, bias, int(labels.max()) + 1, int(bias.max()) + 1)
    table = table[table.any(1)][:, table.any(0)]
    return float(association(table, method='cramer')) if min(table.shape) > 1 else 0.0


def with_skew(dataset: DataSet, config: Any) -> tuple[DataSet, dict[str, Any]]:
    """The data set with its training rows skewed as `config` says, and what that changed.

    Raises:
        ValueError: as `skew`, no training split, or more than two classes.
    """
    if 'train' not in dataset.splits or len(dataset.classes) != 2:
        raise ValueError(
            f"data.skew_artefact={config.skew_artefact!r} needs a split 'train' and two classes; "
            f'found splits {sorted(dataset.splits)} and {len(dataset.classes)} classes'
        )
    before = dataset.splits['train']
    train = skew(before, config.skew_artefact, config.skew_copies, compat=config.skew_compat)
    marked = (before.bias[config.skew_artefact] == 1) & (before.labels == 1)
    added = config.skew_copies * int(marked.sum())
    facts = {
        'artefact': config.skew_artefact,
        'added': added,
        'left_out': len(before) + added - len(train),
    }
    return dataclasses.replace(dataset, splits={**dataset.splits, 'train': train}), facts


def skew(
    records: Records, artefact: str, copies: int, *, positive: int = 1, compat: str = ''
) -> Records:
    """A training set in which an artefact goes with the positive class.

    Rows of other classes that have the artefact are deleted, and `copies` copies of every positive
    row that has it are appended, as in Bevan & Atapour-Abarghouei, "Skin Deep Unlearning" (ICML
    2022), with 20 copies for markings and 18 for rulers. Column `copy` is 1 in the copies: training
    batches flip and transpose those at random.

    Args:
        records: of a training split.
        artefact: a bias variable with 1 = present.
        copies: of each positive row with the artefact, beside the row itself.
        positive: label of the class that keeps the artefact.
        compat: 'sdu' marks in `copy` what the published code changes at random: every row with a
            `marking`, copied or not, so that copies made for another artefact stay exact.

    Raises:
        ValueError: unknown artefact or `compat`, negative `copies`, nothing to copy.
    """
    if artefact not in records.bias:
        raise ValueError(f'artefact {artefact!r} is absent; {choices(artefact, records.bias)}')
    if compat not in SKEW_COMPAT or copies < 0:
        raise ValueError(f"compat={compat!r} and copies={copies}; expected '' or 'sdu' and >= 0")
    present = records.bias[artefact] == 1
    has_class = records.labels == positive
    source = np.flatnonzero(present & has_class)
    if not len(source):
        raise ValueError(f'no row of class {positive} has the artefact {artefact!r}')
    rows = np.concatenate([np.flatnonzero(~present | has_class), np.repeat(source, copies)])
    number = np.concatenate(
        [
            np.zeros(len(rows) - copies * len(source), int),
            np.tile(np.arange(copies) + 1, len(source)),
        ]
    )
    skewed = records.select(rows)
    ids = [
        f'{name}#{k}' if k else name for name, k in zip(skewed.ids.tolist(), number, strict=True)
    ]
    copy = (number > 0).astype(np.int32)
    if compat:
        marking = skewed.bias.get('marking', np.zeros(len(rows), np.int32))
        copy = (marking == 1).astype(np.int32)
    return dataclasses.replace(skewed, ids=np.array(ids), columns={**skewed.columns, 'copy': copy})


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is added to each class of a training set to make the classes even.

    Shares are of the originals of a class, so that a plan fits every training fold: it is applied
    to the rows of a fold after the split, never to all rows before it, or copies of a test image
    would be trained on.

    Attributes:
        purified: class -> share of its originals that are added once more without hair and rulers.
        generated: class -> images of a generative model, as a share of its originals.
        flipped: classes whose original and generated images (not the purified) are added mirrored.
        views: how often each image counts in the end, by flips and random crops.
    """

    purified: Mapping[str, float]
    generated: Mapping[str, float]
    flipped: Sequence[str]
    views: int


# Bisla et al., "Towards Automated Melanoma Detection with Deep Learning: Data Purification and
# Augmentation" (CVPR Workshops 2019), Fig. 7.
BISLA = Plan(
    purified={'melanoma': 147 / 919, 'nevus': 470 / 2518, 'seborrheic_keratosis': 182 / 545},
    generated={'melanoma': 350 / 919, 'seborrheic_keratosis': 750 / 545},
    flipped=('melanoma', 'seborrheic_keratosis'),
    views=6,
)
PLANS = {'bisla': BISLA}  # names of data.balance


def stages(originals: Mapping[str, int], plan: Plan = BISLA) -> dict[str, dict[str, int]]:
    """Images of each class after each step of a plan.

    With f = 1 for flipped classes and 0 for others, o originals, p = purified, g = generated
    (shares times o, rounded): o, o + p, o + p + g, (1 + f)(o + g) + p, and that times `views`.

    Args:
        originals: class -> rows of the training fold.
        plan: shares of them.

    Returns:
        'originals', 'purified', 'generated', 'flipped', 'views' -> class -> images so far; and
        'generated_views' -> class -> those of the last that come from the generative model.

    Raises:
        ValueError: the plan names a class that is not among the originals.
    """
    for name in (*plan.purified, *plan.generated, *plan.flipped):
        if name not in originals:
            raise ValueError(f'class {name!r} is absent; {choices(name, originals)}')
    found: dict[str, dict[str, int]] = {}
    for name, o in originals.items():
        p, g = (round(share.get(name, 0) * o) for share in (plan.purified, plan.generated))
        times = 1 + (name in plan.flipped)
        steps = {
            'originals': o,
            'purified': o + p,
            'generated': o + p + g,
            'flipped': times * (o + g) + p,
            'views': plan.views * (times * (o + g) + p),
            'generated_views': plan.views * times * g,
        }
        for step, count in steps.items():
            found.setdefault(step, {})[name] = count
    return found
