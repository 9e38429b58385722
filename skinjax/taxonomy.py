"""A tree over the classes: what may follow what, and how far off a mistake is.

A tree is nested: a mapping of names to subtrees, whose ends are classes in tuples. An empty one
has a single level, that of the classes. A node is known by its path, such as
`non-melanocytic/benign`: what is benign among non-melanocytic lesions is another node than what is
benign among the melanocytic ones. Nodes are counted level by level, those of a level in the order
of their first class, so that the last level is in the order of the classes.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from skinjax.bootstrap import interval, proportion, resample_confusions
from skinjax.data.records import choices
from skinjax.document import Section, Table
from skinjax.measures import class_means, confusion
from skinjax.predictions import Predictions

Tree = Any  # a mapping of names to trees, or a sequence of classes
ROOT = -1

# Barata et al. 2019, for the diagnoses of ISIC 2018 and HAM10000; the second has two levels.
LESIONS = {
    'melanocytic': {'benign': ('nevus',), 'malignant': ('melanoma',)},
    'non-melanocytic': {
        'benign': ('benign keratosis', 'dermatofibroma', 'vascular lesion'),
        'malignant': ('basal cell carcinoma', 'actinic keratosis'),
    },
}
ORIGIN = {name: tuple(c for ends in tree.values() for c in ends) for name, tree in LESIONS.items()}
CODES = {
    'nevus': 'nv', 'melanoma': 'mel', 'benign keratosis': 'bkl', 'dermatofibroma': 'df',
    'vascular lesion': 'vasc', 'basal cell carcinoma': 'bcc', 'actinic keratosis': 'akiec',
}  # fmt: skip


def renamed(tree: Tree, names: Mapping[str, str]) -> Tree:
    """`tree` with other names of the classes."""
    if isinstance(tree, Mapping):
        return {name: renamed(part, names) for name, part in tree.items()}
    return tuple(names[name] for name in tree)


@dataclasses.dataclass(frozen=True, eq=False)
class Taxonomy:
    """A checked tree; see `read`.

    Attributes:
        nodes: their paths, joined by '/'.
        names: the last part of each path.
        paths: node of each class at each level.
        parents: of each node; ROOT at the first level.
    """

    nodes: tuple[str, ...]
    names: tuple[str, ...]
    paths: Int[np.ndarray, 'c l']
    parents: Int[np.ndarray, ' v']

    @property
    def levels(self) -> int:
        """Their number; the last is that of the classes."""
        return self.paths.shape[1]

    def level(self, number: int) -> Int[np.ndarray, ' n']:
        """Nodes of a level, from 0."""
        return np.unique(self.paths[:, number])

    def children(self, node: int) -> Int[np.ndarray, ' n']:
        """Of a node or of ROOT; none of a class."""
        return np.flatnonzero(self.parents == node)

    def allowed(self) -> Bool[np.ndarray, 'p v']:
        """[v + 1, v] whether a node may follow another; the last row is that of ROOT."""
        before = np.append(np.arange(len(self.nodes)), ROOT)
        return self.parents[None, :] == before[:, None]


def read(tree: Tree, classes: Sequence[str]) -> Taxonomy:
    """The taxonomy of a tree over the classes of a data set.

    Raises:
        ValueError: a class is unknown, missing or there twice, a node is neither a mapping nor a
            sequence of names, or has no children, or classes stand at different depths; the
            message names class or node.
    """
    found: dict[str, tuple[str, ...]] = {}
    empty = isinstance(tree, Mapping | Sequence) and not tree
    for path in _leaves(tuple(classes) if empty else tree, ()):
        *_, name = path
        if name not in classes:
            raise ValueError(
                f'the taxonomy has a class {name!r} (at {"/".join(path)!r}) that the data do not '
                f'have; {choices(name, classes)}'
            )
        if name in found:
            raise ValueError(f'the taxonomy has class {name!r} twice: {found[name]} and {path}')
        found[name] = path
    if missing := [name for name in classes if name not in found]:
        names = ', '.join(map(repr, missing))
        raise ValueError(f'the taxonomy has no place for class {names} of the data')
    depth = max(map(len, found.values()))
    for name, path in found.items():
        if len(path) != depth:
            raise ValueError(
                f'the taxonomy has class {name!r} at level {len(path)}, others at level {depth}: '
                'put nodes between, which may have a single child'
            )
    return _numbered([found[name] for name in classes])


def _leaves(tree: Tree, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Path of each class."""
    where = f'node {"/".join(path)!r} of the taxonomy' if path else 'the taxonomy'
    if isinstance(tree, str) or not isinstance(tree, Mapping | Sequence):
        raise ValueError(f'{where} is {tree!r}: give a mapping of names, or a tuple of classes')
    if not tree:
        raise ValueError(f'{where} has no children')
    for name in tree:
        if not isinstance(name, str):
            raise ValueError(f'{where} has {name!r} below it: give a name there')
        if isinstance(tree, Mapping):
            yield from _leaves(tree[name], (*path, name))
        else:
            yield (*path, name)


def _numbered(paths: Sequence[tuple[str, ...]]) -> Taxonomy:
    depth = len(paths[0])
    nodes: dict[tuple[str, ...], int] = {}
    for level in range(1, depth + 1):
        for path in paths:
            nodes.setdefault(path[:level], len(nodes))
    table = [[nodes[path[:level]] for level in range(1, depth + 1)] for path in paths]
    parents = [nodes.get(node[:-1], ROOT) for node in nodes]
    names = tuple(node[-1] for node in nodes)
    return Taxonomy(tuple(map('/'.join, nodes)), names, np.array(table), np.array(parents))


def measure(
    taxonomy: Taxonomy,
    table: Predictions,
    free: Int[np.ndarray, 'n l'] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of one split, level by level, for any classifier.

    The severity of a mistake is the height of the lowest common ancestor of the true and the
    called class (Bertinetto et al. 2020): 1 for siblings, the number of levels for the worst.

    Args:
        taxonomy: over the classes of the table.
        table: predictions; the called class is that of the largest probability.
        free: nodes that were chosen level by level without regard to the tree.
        resamples: of the bootstrap of balanced accuracies.
        seed: of the resamples.

    Returns:
        levels: for level_1, level_2, ... nodes, accuracy and balanced_accuracy as {value, low,
        high}; mistakes: count and severity (None without any); with `free` inconsistent: the
        share of paths that the tree does not have, with its interval.
    """
    called, levels = table.predicted(), {}
    for number, nodes in enumerate(taxonomy.paths.T, 1):
        codes, index = np.unique(nodes, return_inverse=True)
        levels[f'level_{number}'] = {
            'nodes': [taxonomy.nodes[code] for code in codes],
            **_level(index[table.labels], index[called], len(codes), resamples, seed),
        }
    heights = severity(taxonomy, table.labels, called)
    wrong = heights[heights > 0]
    mistakes = {'count': len(wrong), 'severity': float(wrong.mean()) if len(wrong) else None}
    block: dict[str, Any] = {'levels': levels, 'mistakes': mistakes}
    if free is not None:
        block['inconsistent'] = proportion(int((~consistent(taxonomy, free)).sum()), len(free))
    return block


def _level(
    true: Int[np.ndarray, ' n'],
    called: Int[np.ndarray, ' n'],
    count: int,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Accuracies of a level with `count` nodes."""
    name = 'balanced_accuracy'
    drawn = resample_confusions(true, called, count, resamples, seed)
    value = float(class_means(confusion(true, called, count))[name])
    return {
        'accuracy': proportion(int((true == called).sum()), len(true)),
        name: interval(value, class_means(drawn)[name]),
    }


def sections(results: Mapping[str, Any]) -> Iterator[Section]:
    """The block `hierarchy` of results.json, `measure` of each split, for report.html."""
    blocks = results.get('hierarchy') or {}
    keys = ('accuracy', 'balanced_accuracy')
    rows = [
        [split, name.removeprefix('level_'), len(level['nodes']), *(level[key] for key in keys)]
        for split, block in blocks.items()
        for name, level in block['levels'].items()
    ]
    if rows:
        header = ['split', 'level', 'nodes', 'accuracy', 'balanced accuracy']
        mistakes = [
            [
                split,
                *(block['mistakes'][key] for key in ('count', 'severity')),
                block.get('inconsistent'),
            ]
            for split, block in blocks.items()
        ]
        text = (
            'The severity of a mistake is the height of the lowest common ancestor of the true '
            'and the called class. An inconsistent path is one that the network would choose, '
            'level by level, although the taxonomy does not have it.'
        )
        kinds = ['split', 'mistakes', 'mean severity', 'inconsistent paths']
        tables = [Table('Figures by level', header, rows), Table('Mistakes', kinds, mistakes)]
        yield Section('Levels of the taxonomy', text, tables)


def severity(
    taxonomy: Taxonomy, labels: Int[np.ndarray, ' n'], called: Int[np.ndarray, ' n']
) -> Int[np.ndarray, ' n']:
    """Height of the lowest common ancestor of two classes; 0 where they are the same."""
    return (taxonomy.paths[labels] != taxonomy.paths[called]).sum(1)


def consistent(taxonomy: Taxonomy, free: Int[np.ndarray, 'n l']) -> Bool[np.ndarray, ' n']:
    """Whether each path goes from a child of the root to a child of each node before."""
    before = np.concatenate([np.full((len(free), 1), ROOT), free[:, :-1]], axis=1)
    return (taxonomy.parents[free] == before).all(1)
