"""Trees over classes: what is read, what is refused, and the figures of levels."""

import numpy as np
import pytest

from skinjax import compare, taxonomy
from skinjax.predictions import Predictions

TREE = {'pet': {'cat': ('tabby', 'siamese'), 'dog': ('pug',)}, 'wild': {'cat': ('lynx',)}}
CLASSES = ('lynx', 'pug', 'siamese', 'tabby')


@pytest.fixture(scope='module')
def tree():
    return taxonomy.read(TREE, CLASSES)


def test_nodes_are_whole_paths_level_by_level_in_the_order_of_the_classes(tree):
    assert tree.nodes == (
        'wild', 'pet',
        'wild/cat', 'pet/dog', 'pet/cat',
        'wild/cat/lynx', 'pet/dog/pug', 'pet/cat/siamese', 'pet/cat/tabby',
    )  # fmt: skip
    assert tree.paths.tolist() == [[0, 2, 5], [1, 3, 6], [1, 4, 7], [1, 4, 8]]
    assert tree.parents.tolist() == [-1, -1, 0, 1, 1, 2, 3, 4, 4]
    assert tree.levels == 3
    assert tree.children(taxonomy.ROOT).tolist() == [0, 1]
    assert tree.children(4).tolist() == [7, 8] and not len(tree.children(8))
    assert [tree.names[k] for k in (0, 4, 8)] == ['wild', 'cat', 'tabby']


def test_what_may_follow_what(tree):
    allowed = tree.allowed()
    assert allowed[-1].tolist() == [True, True] + [False] * 7
    for node in range(9):
        assert np.flatnonzero(allowed[node]).tolist() == tree.children(node).tolist()
    paths = np.array([[1, 4, 8], [0, 4, 8], [1, 4, 5], [2, 5, 5], [0, 2, 5]])
    assert taxonomy.consistent(tree, paths).tolist() == [True, False, False, False, True]


def test_the_order_of_a_mapping_does_not_matter(tree):
    turned = {name: dict(reversed(part.items())) for name, part in reversed(TREE.items())}
    again = taxonomy.read(turned, CLASSES)
    assert again.nodes == tree.nodes and (again.paths == tree.paths).all()


def test_a_name_may_have_a_slash():
    tree = taxonomy.read({'big/small': ('a/b',), 'c': ('d',)}, ('a/b', 'd'))
    assert tree.names == ('big/small', 'c', 'a/b', 'd') and tree.levels == 2


@pytest.mark.parametrize('given', [{}, (), CLASSES])
def test_an_empty_tree_has_the_classes_alone(given):
    tree = taxonomy.read(given, CLASSES)
    assert tree.nodes == CLASSES
    assert tree.paths.tolist() == [[0], [1], [2], [3]]
    assert (tree.parents == taxonomy.ROOT).all()


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        (
            {'pet': ('tabby', 'siamse', 'pug'), 'wild': ('lynx',)},
            r"a class 'siamse' \(at 'pet/siamse'\) that the data do not.*mean 'siamese'",
        ),
        ({'pet': ('tabby',), 'wild': ('lynx',)}, "no place for class 'pug', 'siamese' of"),
        ({**TREE, 'wild': {'cat': ()}}, "node 'wild/cat' of the taxonomy has no children"),
        ({**TREE, 'wild': {}}, "node 'wild' of the taxonomy has no children"),
        ({**TREE, 'wild': ('lynx',)}, "class 'lynx' at level 2, others at level 3"),
        ({**TREE, 'wild': {'cat': ('lynx', 'pug')}}, "class 'pug' twice"),
        ({**TREE, 'wild': {'cat': ('lynx')}}, "node 'wild/cat' of the taxonomy is 'lynx': give"),
        ({**TREE, 'wild': None}, "node 'wild' of the taxonomy is None: give a mapping"),
        ({**TREE, 'wild': ({'cat': ('lynx',)},)}, r"node 'wild' .* has {'cat': .*give a name"),
        ({**TREE, 'wild': {'cat': {'lynx': ()}}}, "node 'wild/cat/lynx' .* has no children"),
        (None, 'the taxonomy is None: give a mapping of names, or a tuple of classes'),
        ('lynx', "the taxonomy is 'lynx': give"),
    ],
)
def test_trees_that_do_not_fit_are_refused_by_name(given, text):
    with pytest.raises(ValueError, match=text):
        taxonomy.read(given, CLASSES)


def test_the_trees_of_lesions_fit_the_data():
    from skinjax.data import ham10000, isic2018, latents

    codes = latents.CLASSES[7]
    for tree, levels in ((taxonomy.LESIONS, 3), (taxonomy.ORIGIN, 2)):
        for classes in (ham10000.ABOUT.classes, isic2018.ABOUT.classes):
            assert taxonomy.read(tree, classes).levels == levels
        assert taxonomy.read(taxonomy.renamed(tree, taxonomy.CODES), codes).levels == levels
    tree = taxonomy.read(taxonomy.renamed(taxonomy.LESIONS, taxonomy.CODES), codes)
    malignant = ['malignant' in tree.nodes[path[1]] for path in tree.paths]
    assert tuple(malignant) == latents.MALIGNANT[7]


def test_figures_of_levels(tree):
    """One right, one wrong at the last level, one below the root: by hand."""
    labels = np.array([0, 2, 3, 1])
    called = np.array([0, 3, 1, 2])
    scores = np.eye(4)[called] * 0.7 + 0.075
    table = Predictions(np.arange(4).astype(str), labels, scores)
    assert taxonomy.severity(tree, labels, called).tolist() == [0, 1, 2, 2]
    free = np.array([[0, 2, 5], [1, 4, 8], [1, 3, 5], [0, 4, 7]])
    found = taxonomy.measure(tree, table, free, resamples=20)
    first, second, last = (found['levels'][f'level_{k}'] for k in (1, 2, 3))
    for level, value in (('level_1', 1.0), ('level_2', 0.5), ('level_3', 0.25)):
        path = f'hierarchy.test.levels.{level}.accuracy.value'  # as a comparison asks for it
        assert compare.lookup({'hierarchy': {'test': found}}, path) == value
    assert first['balanced_accuracy']['value'] == 1.0
    assert second['nodes'] == ['wild/cat', 'pet/dog', 'pet/cat']
    assert second['balanced_accuracy']['value'] == pytest.approx((1 + 0 + 1 / 2) / 3)
    assert last['balanced_accuracy']['value'] == 0.25
    assert found['mistakes'] == {'count': 3, 'severity': pytest.approx(5 / 3)}
    assert found['inconsistent']['value'] == 0.5
    right = Predictions(np.arange(4).astype(str), labels, np.eye(4)[labels])
    found = taxonomy.measure(tree, right, resamples=20)
    assert found['mistakes'] == {'count': 0, 'severity': None} and 'inconsistent' not in found
