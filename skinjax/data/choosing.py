"""Some rows of many."""

import numpy as np
from jaxtyping import Int, Num


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of some rows, spread over them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def by_chance(n: int, most: int, seed: int) -> Int[np.ndarray, ' k']:
    """At most `most` of the rows 0 .. n-1 in their order, drawn by chance; 0: all. Evenly spaced
    ones would drop what alternates in a table.
    """
    return np.sort(np.random.default_rng(seed).permutation(n)[: most or None])


def some_of_each(labels: Num[np.ndarray, ' n'], count: int) -> Int[np.ndarray, ' m']:
    """At most `count` rows, class by class: as many of each that occurs, as far as it has them; of
    more classes than `count`, some are left out, evenly.
    """
    present = np.unique(labels)
    wanted, left = np.zeros(len(present), int), np.bincount(np.searchsorted(present, labels))
    while (short := min(count, len(labels)) - int(wanted.sum())) > 0:
        wanted[evenly(np.flatnonzero(wanted < left), short)] += 1
    chosen = [
        evenly(np.flatnonzero(labels == k), n)
        for k, n in zip(present, wanted.tolist(), strict=True)
    ]
    return np.concatenate([np.zeros(0, int), *chosen])
