"""Which flags are frequent in which cluster, where people or a generator have flagged images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer
from scipy.stats import false_discovery_control, fisher_exact

from skinjax import bootstrap
from skinjax.data.records import UNKNOWN

SURE = 0.05  # q up to which a cluster is called rich in a value

Row = dict[str, Any]
Labels = Integer[np.ndarray, ' n']


def rows(
    labels: Labels, flags: Mapping[str, Labels], names: Mapping[str, Sequence[str]]
) -> list[Row]:
    """Every cluster beside all others, for each value of each flag.

    Args:
        labels: cluster of each image, -1 for none: left out.
        flags: name -> value of each image, -1 for unknown: left out. A value that all or none of
            the others have says nothing and has no row.
        names: name -> name of each value; of two values only the second has rows.

    Returns:
        Of each: cluster, flag, value; n: images of the cluster for which the flag is known, hits:
        those that have the value; inside and outside: shares of the cluster and of the others,
        with Wilson's intervals; more: whether the first is larger; odds: ratio of odds, infinite
        where none of the others has it; p: Fisher's exact test, two-sided.
    """
    found = []
    for flag, values in flags.items():
        known = (labels >= 0) & (values != UNKNOWN)
        for code in range(1 if len(names[flag]) == 2 else 0, len(names[flag])):
            for cluster in range(int(labels.max(initial=-1)) + 1):
                mine, has = labels[known] == cluster, values[known] == code
                if all(0 < side.sum() < side.size for side in (mine, has)):
                    head = {'cluster': cluster, 'flag': flag, 'value': names[flag][code]}
                    found.append(head | _compared(mine, has))
    return found


def corrected(found: Sequence[Row]) -> list[Row]:
    """Rows with q: their p after Benjamini and Hochberg (1995), over all of them."""
    adjusted = false_discovery_control([row['p'] for row in found]) if found else ()
    return [row | {'q': float(q)} for row, q in zip(found, adjusted, strict=True)]


def _compared(mine: np.ndarray, has: np.ndarray) -> Row:
    table = [[int((has[side] == kind).sum()) for kind in (1, 0)] for side in (mine, ~mine)]
    (hits, misses), (others, rest) = table
    result: Any = fisher_exact(table)
    return {
        'n': hits + misses,
        'hits': hits,
        'inside': bootstrap.proportion(hits, hits + misses),
        'outside': bootstrap.proportion(others, others + rest),
        'more': hits * (others + rest) > others * (hits + misses),
        'odds': float(result.statistic),
        'p': float(result.pvalue),
    }


def agreement(
    labels: Labels,
    flags: Mapping[str, Labels],
    names: Mapping[str, Sequence[str]],
    found: Sequence[Row],
) -> list[Row]:
    """How well all clusters, and those that are rich in a value, divide images as a flag does.

    Args:
        labels, flags, names: as of `rows`.
        found: what `rows` says of them, `corrected`.

    Returns:
        Of each flag that varies: flag; n: images for which it is known; ari: adjusted Rand index
        (Hubert and Arabie 1985) of all clusters with all values; value: the one that is enriched
        most surely in a cluster (least p; None without one); clusters: that cluster and all others
        that are surely (q at most SURE) rich in it, such as rulers in several places; and of being
        in one of these, with having the value: joint_ari, precision and recall.
    """
    from sklearn.metrics import adjusted_rand_score

    result = []
    for flag, values in flags.items():
        known = (labels >= 0) & (values != UNKNOWN)
        if len(np.unique(values[known])) < 2:
            continue
        row: Row = {'flag': flag, 'n': int(known.sum())}
        row['ari'] = float(adjusted_rand_score(values[known], labels[known]))
        row |= dict.fromkeys(('value', 'clusters', 'joint_ari', 'precision', 'recall'))
        mine = [one for one in found if one['flag'] == flag and one['more']]
        if mine:
            best = min(mine, key=lambda one: (one['p'], -one['inside']['value']))
            alike = [one for one in mine if one['value'] == best['value'] and one['q'] <= SURE]
            rich = sorted({best['cluster'], *(one['cluster'] for one in alike)})
            inside = np.isin(labels[known], rich)
            has = values[known] == list(names[flag]).index(best['value'])
            row |= {'value': best['value'], 'clusters': rich}
            row['joint_ari'] = float(adjusted_rand_score(has, inside))
            row['precision'] = float(has[inside].mean())
            row['recall'] = float(inside[has].mean())
        result.append(row)
    return result
