"""Images are drawn until enough of each class are no copies, and only what is new is drawn."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from skinjax import drawing, memorisation
from skinjax.data import augment, images
from skinjax.data.parallel import Stopped
from skinjax.data.records import DataSet, Records
from tests.helpers import tiny_data

SIZE = 8


class Trained:
    """What `near` asks of the config of a run."""

    def __init__(self, *names):
        self.train = self.data = self
        self.augment, self.augment_host, self.image_size = names, (), SIZE


def noise(seed, count=6):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


def rows(pictures, name) -> Records:
    ids = np.array([f'{name}{k}' for k in range(len(pictures))])
    labels = np.zeros(len(pictures), np.int32)
    return Records(ids, labels, {}, ids, lambda row: {'image': pictures[row]})


def known(*names, least='auto', train=None, val=None):
    splits = {'train': rows(noise(0) if train is None else train, 'train')}
    splits |= {'val': rows(noise(1, 40) if val is None else val, 'val')}
    return drawing.near(DataSet('x', ('a',), {}, splits), Trained(*names), least)


def test_how_close_is_too_close():
    near = known()
    errors = [((a / 255.0 - b / 255.0) ** 2).mean() for a in noise(1, 40) for b in noise(0)]
    control = np.reshape(errors, (40, 6)).min(1)
    np.testing.assert_allclose(near.control, control, rtol=1e-9)
    assert near.least == pytest.approx(np.quantile(control, 0.01))
    assert known(least='0.25').least == 0.25 and known(least='0').least == 0
    row, mse = near(noise(0)[4:5])
    assert (row.tolist(), mse[0, 0]) == ([4], 0) and mse[0, 1] > 0.1


@pytest.mark.parametrize('least', ['none', '-1', '2', 'nan'])
def test_impossible_limits(least):
    with pytest.raises(ValueError, match=rf"least_mse is '{least}'; expected 'auto' or a number"):
        known(least=least)


def test_no_held_out_images():
    alone = DataSet('x', ('a',), {}, {'train': rows(noise(0), 'train')})
    with pytest.raises(ValueError, match="'auto' needs a split 'val' of the run"):
        drawing.near(alone, Trained(), 'auto')
    assert drawing.near(alone, Trained(), '0.01').least == 0.01


@pytest.mark.parametrize(('name', 'count'), [('d4', 8), ('flip', 4), ('vflip', 2), ('colour', 1)])
def test_copies_are_known_turned_as_training_turns_them(name, count):
    near = known(name)
    assert len(near.turns) == count
    change = augment.HOST['d4']
    for i in range(8):
        copy = change.apply({'image': noise(0)[2]}, i)['image'][None]
        _, mse = near(np.ascontiguousarray(copy))
        assert (mse[0, 0] == 0) == (i in near.turns)
        np.testing.assert_array_equal(memorisation.turn(noise(0)[2:3], i), copy)


def test_another_photograph_of_a_lesion_hides_no_copy():
    lesions = noise(0).repeat(2, 0)
    lesions[1::2, 0, 0] ^= 1
    train = dataclasses.replace(rows(lesions, 'train'), groups=np.arange(6).repeat(2))
    data = DataSet('x', ('a',), {}, {'train': train})
    copies = lesions[::2].copy()
    copies[:, 1, 1] ^= 1
    index, errors = drawing.near(data, Trained(), '0')(copies)
    assert index.tolist() == [0, 2, 4, 6, 8, 10] and memorisation.copies(errors).all()


def test_views_of_a_row_are_one_image():
    data = tiny_data(4)
    train = data.splits['train']
    view = {'balance_view': np.array([0, 0, 1, 2])}
    train = Records(train.ids, train.labels, train.bias, train.groups, train.read, view)
    whole = DataSet('x', data.classes, data.bias, {**data.splits, 'train': train})
    assert len(drawing.near(whole, Trained(), 'auto').images) == 2


def test_places():
    found = drawing.places({'a b': 2, 'a_b': 1, 'A B': 1}, Path('f'))
    names = [str(path) for paths in found.values() for path in paths]
    assert names == [
        'f/a_b-000000.png',
        'f/a_b-000001.png',
        'f/a_b_-000000.png',
        'f/A_B__-000000.png',
    ]


class Made:
    """Images by class and number, some of which are training images; counts what is asked for."""

    def __init__(self, copies):
        self.copies, self.asked = copies, []

    def __call__(self, label, first, count):
        self.asked.append((label, first))
        made = np.stack([noise((7, label, first + k), 1)[0] for k in range(count)])
        for k in range(count):
            if (first + k) in self.copies:
                made[k] = noise(0)[0]
        return made


def drawn(
    make, tmp_path, counts=None, size=4, step=7, stopped=lambda: None, told=lambda done: None
):
    files = drawing.places(counts or {'a': 6, 'b': 3}, tmp_path / 'images')
    near = known(least='0.001')
    return drawing.draw(make, files, near, size, tmp_path, step, told, stopped), files


def test_copies_are_refused_and_others_drawn(tmp_path):
    make, told = Made({1, 2, 6}), []
    found, files = drawn(make, tmp_path, told=told.append)
    assert make.asked == [(0, 0), (0, 4), (0, 8), (1, 0), (1, 4)]
    assert found['a'].numbers == [0, 3, 4, 5, 7, 8] and found['b'].numbers == [0, 3, 4]
    assert found['a'].looked_at == 9 and found['a'].copies == 3
    assert [len(one.refused) for one in found.values()] == [3, 2]
    assert found['a'].refused == [(0, 0.0)] * 3 and told == [2, 5, 6, 8, 9]
    for label, (name, paths) in enumerate(files.items()):
        for path, number in zip(paths, found[name].numbers, strict=True):
            expected = noise((7, label, number), 1)[0]
            np.testing.assert_array_equal(images.decode(path, SIZE), expected)


def test_a_stopped_draw_goes_on_where_it_was(tmp_path):
    whole, _ = drawn(Made({1, 2, 6}), tmp_path / 'whole')
    make = Made({1, 2, 6})
    for k in range(5):
        with pytest.raises(Stopped):
            drawn(make, tmp_path / 'parts', stopped=lambda: True)
        assert len(make.asked) == k + 1
    found, _ = drawn(make, tmp_path / 'parts')
    assert found == whole
    assert make.asked == [(0, 0), (0, 4), (0, 8), (1, 0), (1, 4)]
    state = [tmp_path / name / 'drawn.json' for name in ('whole', 'parts')]
    assert json.loads(state[0].read_text()) == json.loads(state[1].read_text())
    for path in (tmp_path / 'whole' / 'images').iterdir():
        assert path.read_bytes() == (tmp_path / 'parts' / 'images' / path.name).read_bytes()


def test_images_of_two_checkpoints_are_not_mixed(tmp_path):
    with pytest.raises(Stopped):
        drawn(Made(set()), tmp_path, stopped=lambda: True)
    before = (tmp_path / 'drawn.json').read_bytes()
    later = Made(set())
    with pytest.raises(ValueError, match=r'images of step 7 .*is now of step 8: delete .*workdir'):
        drawn(later, tmp_path, step=8)
    assert not later.asked and (tmp_path / 'drawn.json').read_bytes() == before
    assert drawn(Made(set()), tmp_path)[0]['a'].numbers == [0, 1, 2, 3, 4, 5]
    (tmp_path / 'drawn.json').write_text('{"a": {}}')
    with pytest.raises(ValueError, match='images of step unknown of the run'):
        drawn(later, tmp_path)


def test_a_model_that_copies_is_refused(tmp_path):
    make = Made({k for k in range(100) if k % 3})
    with pytest.raises(ValueError, match=r"5 of 8 images of 'a' .*\(0.001\), 5 .*the model copies"):
        drawn(make, tmp_path)
    files = drawing.places({'a': 6}, tmp_path / 'plain')
    with pytest.raises(ValueError, match=r'4 of 4 images .*, 0 of them .*: images that are plain'):
        near, work = known(least='1'), tmp_path / 'plain'
        drawing.draw(Made(set()), files, near, 4, work, 7, lambda _: None, lambda: 0)
    few, _ = drawn(Made(set()), tmp_path / 'few', {'a': 0, 'b': 1}, size=64)
    assert few['b'].numbers == [0] and few['b'].looked_at == 1 and few['a'].looked_at == 0
