"""Plain functions as classifiers: what they may say, and what is refused."""

import dataclasses
import re

import numpy as np
import pytest

from skinjax.auditing import answers, functions
from tests.audits.toys import CLASSES, SIDE, shortcut, striped
from tests.helpers import write_folder


def of(predict, records=None, batch_size=32, explain=None, classes=CLASSES):
    records = striped(20) if records is None else records
    data = functions.data_of(records, classes, ())
    return functions.of_function(predict, data, records, 0.5, batch_size, 'toy', explain)


@pytest.mark.parametrize(
    'shape',
    [
        lambda p: p,
        lambda p: p[:, None],
        lambda p: np.stack([1 - p, p], 1),
        lambda p: {'probabilities': np.stack([1 - p, p], 1).astype(np.float32)},
    ],
)
def test_probabilities_of_two_classes_in_any_form(shape):
    records = striped(21)
    table, features = of(lambda x: shape(shortcut(x)['probabilities']), records, 4).say(records)
    images = np.stack([records.read(k)['image'] for k in range(21)])
    np.testing.assert_allclose(table.positive, shortcut(images)['probabilities'], atol=1e-6)
    assert table.binary and features is None
    assert table.ids.tolist() == records.ids.tolist()


def test_batches_are_always_full():
    seen = []

    def predict(images):
        seen.append(images.shape)
        return shortcut(images)

    records = striped(10)
    one = of(predict, records, 8, lambda images, targets: targets[:, None, None] + images[..., 0])
    _, features = one.say(records)
    assert {*seen} == {(8, SIDE, SIDE, 3)} and features is not None and features.shape == (10, 2)
    targets = np.arange(10) % 2
    assert one.explain is not None
    maps = one.explain(records, targets)
    assert maps.shape == (10, SIDE, SIDE)
    for row in (0, 7, 8, 9):
        image = records.read(row)['image'][..., 0].astype(np.float32)
        np.testing.assert_array_equal(maps[row], image + targets[row])


def test_more_classes():
    records = dataclasses.replace(striped(12), labels=np.arange(12, dtype=np.int32) % 3)
    scores = np.array([0.2, 0.3, 0.5])
    table, _ = of(lambda x: np.tile(scores, (len(x), 1)), records, classes=('a', 'b', 'c')).say(
        records
    )
    assert table.scores.shape == (12, 3) and (table.predicted() == 2).all()


@pytest.mark.parametrize(
    ('said', 'message'),
    [
        (np.zeros(3), 'of shape [3, 1] for 4 images and 2 classes, expected [4, 1] or [4, 2]'),
        (np.zeros((4, 3)), 'shape [4, 3] for 4 images'),
        (np.zeros((4, 1, 1)), 'shape [4, 1, 1]'),
        (np.array([0.1, np.nan, 0, 0]), 'not finite'),
        (np.array([0.1, 4, -3, 0]), 'values from -3 to 4, expected probabilities'),
        (np.full((4, 2), 0.9), 'sum to 1.8, expected 1'),
        ({'logits': np.zeros(4)}, "but no 'probabilities'"),
        ({'probabilities': np.zeros(4), 'features': np.zeros(4)}, 'features of shape [4]'),
        ({'probabilities': np.zeros(4), 'features': np.full((4, 2), np.inf)}, 'not finite'),
    ],
)
def test_what_is_no_answer(said, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        answers.answer(said, 2, 4, 4)


def test_tensors_that_numpy_cannot_read_are_named():
    torch = pytest.importorskip('torch')
    whole = torch.full((4,), 0.3)
    grad, short = whole.clone().requires_grad_(), whole.to(torch.bfloat16)
    for said in (grad, short, {'probabilities': whole, 'features': grad[:, None]}):
        with pytest.raises(ValueError, match=r'as torch.Tensor, which.*\.detach\(\)\.float\(\)'):
            answers.answer(said, 2, 4, 4)
    assert answers.answer(whole, 2, 4, 4)[0].shape == (4, 1)


def test_models_in_training_mode_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match='put it into evaluation mode'):
        of(lambda images: rng.random(len(images)))
    with pytest.raises(ValueError, match='put it into evaluation mode'):  # statistics of the batch
        of(lambda images: 1 / (1 + np.exp(images.mean() - images.mean((1, 2, 3)))))


def test_what_is_no_data():
    records = striped(8)
    for classes, message in (((), 'name the classes'), (('a', 'b'), 'run from 0 to 2')):
        labels = np.array([0, 1, 2, 0, 0, 0, 0, 0], np.int32)
        with pytest.raises(ValueError, match=message):
            functions.data_of(dataclasses.replace(records, labels=labels), classes, ())
    with pytest.raises(ValueError, match=r"no bias variable 'rule'.*did you mean 'ruler'"):
        functions.data_of(records, CLASSES, ('rule',))
    with pytest.raises(ValueError, match='has the value 1, which has no name'):
        functions.data_of(records, CLASSES, {'ruler': ('no',)})
    with pytest.raises(ValueError, match='no images'):
        functions.data_of(records.select(np.arange(0)), CLASSES, ())
    more = dataclasses.replace(records, bias={**records.bias, 'site': records.bias['ruler']})
    assert [*functions.data_of(more, CLASSES, ()).bias] == ['ruler', 'site']
    assert functions.data_of(more, CLASSES, ('ruler',)).bias == {'ruler': ('no', 'yes')}
    assert [*functions.data_of(more, CLASSES, {'site': ('a', 'b')}).bias] == ['ruler', 'site']

    def read(row):
        return {'image': np.zeros((SIDE, SIDE + row % 2, 3), np.uint8)}

    with pytest.raises(ValueError, match="image 'toy-1' is uint8"):
        of(lambda x: np.zeros(len(x)), dataclasses.replace(records, read=read))
    with pytest.raises(ValueError, match='`explain` gives maps of shape'):
        one = of(shortcut, records, 8, lambda images, targets: np.zeros((8, 3)))
        assert one.explain is not None
        one.explain(records, np.zeros(8, int))


def test_folders(tmp_path):
    root = write_folder(tmp_path / 'data', n=12, size=16)
    data = functions.folder_data(root, 24, 'records.csv', ('nevus', 'melanoma'), ('ruler',))
    assert {name: len(records) for name, records in data.splits.items()} == {
        'train': 12,
        'val': 12,
        'test': 12,
    }
    assert data.splits['test'].read(0)['image'].shape == (24, 24, 3)
    with pytest.raises(ValueError, match=r"give the columns, bias=\('ruler',\)"):
        functions.folder_data(root, 24, 'records.csv', (), {'ruler': ('no', 'yes')})
    text = (root / 'records.csv').read_text()
    (root / 'escape.csv').write_text(text.replace(',test', ',../../escaped'))
    with pytest.raises(ValueError, match=r"'\.\./\.\./escaped' cannot be the name of a split"):
        functions.folder_data(root, 24, 'escape.csv', (), ('ruler',))
    text = text.replace('split', 'part', 1)
    (root / 'records.csv').write_text(text)
    data = functions.folder_data(root, 24, 'records.csv', (), ('ruler',))
    assert [*data.splits] == ['test'] and len(data.splits['test']) == 36
    assert data.classes == ('nevus', 'melanoma') and [*data.bias] == ['ruler']
