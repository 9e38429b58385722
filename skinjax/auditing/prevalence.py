"""How often artefacts are found in sets of images, class by class, beside how often in real ones.

A detector is no annotator: it errs in both directions, and differently in blurred images. What the
figures compare is what the same detectors, with the same limits and at the same image size, say of
real and of generated images; `agreement` tells how far they can be believed.

Strong cases count once more as sub-types (a large dark corner is another shortcut than a narrow
one). No limit for them is published: it is a high score among the real images, see `limits`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.stats import false_discovery_control, fisher_exact
from scipy.stats.contingency import relative_risk

from skinjax import bootstrap
from skinjax.bootstrap import Interval
from skinjax.data import detected
from skinjax.data.detectors import ARTEFACTS
from skinjax.data.records import DataSet, Records
from skinjax.document import Table
from skinjax.figures import image_grid

REAL, NONE = 'real', 'none'
NAMES = (*ARTEFACTS, NONE)  # 'none' is an image in which no detector finds anything
# Sub-type -> its artefact; the quantile of scores from which it counts, and of how many at least.
SUBTYPES = {'dark_corner, large': 'dark_corner', 'hair, dense': 'hair'}
STRONG, FEWEST = 0.9, 10
_LEVEL = 0.95
SLIGHT = 0.2  # κ up to which agreement is called slight (Landis and Koch 1977)

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Looked:
    """Images of one origin, and what the detectors say of them.

    Attributes:
        name: REAL, or of a folder.
        records: that were looked at.
        labels: of each, as the real data number the classes.
        table: the columns of `detectors.table`, and those of sub-types.
    """

    name: str
    records: Records
    labels: Integer[np.ndarray, ' n']
    table: Mapping[str, np.ndarray]

    def has(self, artefact: str) -> Bool[np.ndarray, ' n']:
        """Which images have the artefact or sub-type; with NONE, which have no artefact."""
        if artefact != NONE:
            return self.table[artefact] > 0
        return ~np.any([self.table[name] > 0 for name in ARTEFACTS], axis=0)

    @property
    def names(self) -> tuple[str, ...]:
        """What `has` takes."""
        return (*NAMES, *(name for name in SUBTYPES if name in self.table))


def look(
    name: str,
    records: Records,
    labels: Integer[np.ndarray, ' n'],
    threads: int,
    told: Callable[[int], None],
) -> Looked:
    """The detectors on all of `records`."""
    rows = np.arange(len(records))
    return Looked(name, records, labels, detected.table(records, rows, threads, told))


def limits(real: Looked) -> dict[str, float]:
    """Sub-type -> score from which an image counts as one.

    It is the quantile STRONG of the scores of the real images that have the artefact; a sub-type is
    left out where these are less than FEWEST.
    """
    found = {}
    for name, artefact in SUBTYPES.items():
        scores = real.table[f'{artefact}_score'][real.has(artefact)]
        if len(scores) >= FEWEST:
            found[name] = float(np.quantile(scores, STRONG))
    return found


def with_subtypes(looked: Looked, limits: Mapping[str, float]) -> Looked:
    """The same with a column, 0 or 1, for each sub-type."""
    strong = {
        name: (looked.table[f'{SUBTYPES[name]}_score'] >= limit).astype(np.int32)
        for name, limit in limits.items()
    }
    return dataclasses.replace(looked, table={**looked.table, **strong})


def sample(labels: Integer[np.ndarray, ' n'], n: int, seed: int) -> Integer[np.ndarray, ' k']:
    """At most `n` rows of each class (0: all), by chance, in order."""
    rng, kept = np.random.default_rng(seed), []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        kept.append(rng.permutation(rows)[: n or None])
    return np.sort(np.concatenate([np.empty(0, np.int64), *kept]))


def rows(real: Looked, others: Sequence[Looked], classes: Sequence[str]) -> list[Row]:
    """Real and other images of each class with each artefact, in every folder, as plain values.

    `ratio` is (share of the others) / (share of the real ones) with Katz's logarithmic interval,
    without bounds where either share is 0; `p` Fisher's exact test, two-sided; `q` the same after
    Benjamini and Hochberg (1995), over all rows.
    """
    found = []
    for other in others:
        for label, name in enumerate(classes):
            for artefact in real.names:
                counts = [_counts(one, artefact, label) for one in (real, other)]
                if all(n for _, n in counts):
                    found.append(
                        {'images': other.name, 'class': name, 'artefact': artefact}
                        | compared(*counts[0], *counts[1])
                    )
    for row, q in zip(found, _adjusted([row['p'] for row in found]), strict=True):
        row['q'] = q
    return found


def _counts(looked: Looked, artefact: str, label: int) -> tuple[int, int]:
    mine = looked.labels == label
    return int((looked.has(artefact) & mine).sum()), int(mine.sum())


def compared(real_hits: int, real_n: int, hits: int, n: int) -> Row:
    """`real` and `found`: shares with Wilson's interval; `ratio` and `p` as in `rows`."""
    risk = relative_risk(hits, n, real_hits, real_n)
    low, high = risk.confidence_interval(_LEVEL)
    p: Any = fisher_exact([[hits, n - hits], [real_hits, real_n - real_hits]])[1]
    return {
        'n_real': real_n,
        'n': n,
        'real': bootstrap.proportion(real_hits, real_n),
        'found': bootstrap.proportion(hits, n),
        'ratio': {'value': float(risk.relative_risk), 'low': float(low), 'high': float(high)},
        'p': float(p),
    }


def _adjusted(p: Sequence[float]) -> list[float]:
    return false_discovery_control(p).tolist() if p else []


def tables(found: Sequence[Row]) -> list[Table]:
    """One table for each folder."""
    header = ('class', 'artefact', 'n real', 'n', 'share of real', 'share', 'ratio', 'p', 'q')
    keys = ('class', 'artefact', 'n_real', 'n', 'real', 'found', 'ratio', 'p', 'q')
    return [
        Table(
            f'Artefacts in {name!r} and in real images',
            header,
            [[row[key] for key in keys] for row in found if row['images'] == name],
        )
        for name in dict.fromkeys(row['images'] for row in found)
    ]


def agreement(real: Looked, data: DataSet, resamples: int, seed: int) -> list[Row]:
    """The detectors against what people have labelled, for artefacts that the data know about.

    Cohen's κ = (p_o - p_e) / (1 - p_e), p_o the agreement, p_e that of independent marginals, with
    an interval bootstrapped over images; sensitivity and specificity with Wilson's.
    """
    found = []
    for name in ARTEFACTS:
        values = real.records.bias.get(name)
        if values is None or len(data.bias[name]) != 2 or not (values >= 0).any():
            continue
        known = values >= 0
        flags, said = values[known], real.has(name)[known].astype(np.int64)
        drawn = bootstrap.resample_confusions(flags, said, 2, resamples, seed)
        matrix = np.array([[((flags == i) & (said == j)).sum() for j in (0, 1)] for i in (0, 1)])
        found.append(
            {
                'artefact': name,
                'n': int(known.sum()),
                'flagged': int(flags.sum()),
                'found': int(said.sum()),
                'kappa': bootstrap.interval(float(kappa(matrix[None])[0]), kappa(drawn)),
                'sensitivity': bootstrap.proportion(int(matrix[1, 1]), int(matrix[1].sum())),
                'specificity': bootstrap.proportion(int(matrix[0, 0]), int(matrix[0].sum())),
            }
        )
    return found


def kappa(matrices: Integer[np.ndarray, 'b 2 2']) -> Float[np.ndarray, ' b']:
    """Cohen's κ of tables of counts; nan where both always say the same one thing."""
    matrix = np.asarray(matrices, np.float64)
    total = matrix.sum(axis=(1, 2))
    agreed = np.trace(matrix, axis1=1, axis2=2) / total
    chance = (matrix.sum(axis=1) * matrix.sum(axis=2)).sum(axis=1) / total**2
    return (agreed - chance) / np.where(chance < 1, 1 - chance, np.nan)


def remark(found: Sequence[Row]) -> str:
    """A sentence about the detectors that agree with people little better than by chance."""
    weak = [row['artefact'] for row in found if not row['kappa']['value'] > SLIGHT]
    if not weak:
        return ''
    return (
        f'Not to be believed in images of this size, by their agreement with people (κ at most '
        f'{SLIGHT:g}): {", ".join(weak)}.'
    )


def agreement_table(found: Sequence[Row]) -> Table:
    """What `agreement` says."""
    header = ('artefact', 'n', 'flagged', 'found', "Cohen's κ", 'sensitivity', 'specificity')
    return Table(
        'The detectors on real images against what people see',
        header,
        [list(row.values()) for row in found],
    )


def shares(sets: Sequence[Looked], label: int) -> tuple[dict[str, Interval], dict[str, int]]:
    """'artefact, set' -> share with its interval, and number of images, of one class."""
    counts = {
        f'{artefact}, {one.name}': _counts(one, artefact, label)
        for artefact in sets[0].names
        for one in sets
    }
    counts = {name: pair for name, pair in counts.items() if pair[1]}
    found = {name: bootstrap.proportion(*pair) for name, pair in counts.items()}
    return found, {name: n for name, (_, n) in counts.items()}


def examples(sets: Sequence[Looked], count: int) -> bytes:
    """For each artefact the images of each set with the highest score: a row of pictures."""
    pictures, titles = [], []
    for artefact in ARTEFACTS:
        for one in sets:
            scores = one.table[f'{artefact}_score']
            top = np.argsort(-scores, kind='stable')[:count].tolist()
            pictures += [one.records.read(row)['image'] for row in top]
            titles += [f'{artefact}, {one.name}, {scores[row]:.2g}' for row in top]
            lacking = count - len(top)
            pictures += [np.full((1, 1, 3), 255, np.uint8)] * lacking
            titles += [''] * lacking
    return image_grid(pictures, titles, count * len(sets), 1.5)
