"""Artefacts put into training images: how often, into which, where."""

import contextlib
import dataclasses
import math

import ml_collections
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import recipes, train
from skinjax.data import groups, targeted
from skinjax.data.records import COMMON, UNKNOWN
from skinjax.editors import overlays
from skinjax.engine.mesh import Mesh
from tests.data.test_pipeline import assert_equal, everything, indices, make, take
from tests.helpers import shrink, tiny_data, tiny_records

SIDE = 16
KIND = 'frame'  # drawn at once


def config(**fields):
    sizes = {'image_size': SIDE, 'batch_size': 8, 'insert': KIND}
    return ml_collections.ConfigDict({**COMMON, **sizes, **fields})


def rows(n=40):
    return make(n, SIDE)


def framed(batches):
    """Which images have black corners (`make` has none), in the order of their batches."""
    images = np.concatenate([batch['image'] for batch in batches])
    values = np.concatenate([batch['index'] for batch in batches])
    return (images[:, 0, 0, 0] == 0) & (values > 0)


@pytest.mark.parametrize('share', [0.0, 0.25, 0.5, 1.0])
def test_the_share_is_that_of_the_config_in_every_class(share):
    fields = config(insert_probability=share)
    n = 1600
    batches = take(n // 8, rows(), fields, seed=4)
    found, index = framed(batches), indices(batches)
    for chosen in (index > 0, (index > 0) & (index % 7 == 0), (index > 0) & (index % 7 > 0)):
        sigma = math.sqrt(share * (1 - share) / chosen.sum())
        assert abs(found[chosen].mean() - share) <= 3 * sigma


def test_it_is_the_published_probability_no_more():
    """Of `randint(0, 100) <= 100 p` one row in a hundred would have it at p = 0."""
    never = targeted.Insertion((KIND,), 0.0, 0)
    always = targeted.Insertion((KIND,), 1.0, 0)
    example = {'image': np.full((SIDE, SIDE, 3), 9, np.uint8)}
    for position in range(1000):
        assert never(example, 'a', position) == (example, '')
        if position < 100:
            assert always(example, 'a', position)[1] == KIND


def test_every_epoch_draws_anew_and_every_run_the_same():
    fields = config(insert_probability=0.5)
    first = take(10, rows(), fields, seed=1)
    second = take(10, rows(), fields, seed=1)
    for one, other in zip(first, second, strict=True):
        assert_equal(one, other)
    by_row = [dict(zip(indices(part).tolist(), framed(part), strict=True)) for part in
              (first[:5], first[5:])]  # fmt: skip
    assert sorted(by_row[0]) == sorted(by_row[1]) == list(range(40))
    assert by_row[0] != by_row[1]
    assert (framed(first) != framed(take(10, rows(), fields, seed=2))).any()


def test_resuming_and_processes_are_exact():
    kinds = '+'.join(('ruler', 'hair_short', 'red_circle'))
    fields = config(insert=kinds, augment_host=('d4', 'affine', 'colour'), threads=2)
    whole = take(4, rows(), fields, seed=3)
    for one, other in zip(whole[2:], take(2, rows(), fields, seed=3, start_step=2), strict=True):
        assert_equal(one, other)
    parts = [take(4, rows(), fields, seed=3, process_index=k, process_count=2) for k in range(2)]
    for one, *both in zip(whole, *parts, strict=True):
        assert_equal(one, {name: np.concatenate([b[name] for b in both]) for name in one})


def test_before_the_other_changes():
    """An image with a circle is turned with it: the circle is not put onto the turned image."""
    plain = config(insert='red_circle', insert_probability=1.0)
    turned = config(insert='red_circle', insert_probability=1.0, augment_host=('d4',))
    for one, other in zip(
        take(1, rows(), plain, seed=0)[0]['image'],
        take(1, rows(), turned, seed=0)[0]['image'],
        strict=True,
    ):
        views = [np.rot90(v, k) for v in (one, one[::-1]) for k in range(4)]
        assert any(np.array_equal(view, other) for view in views)
    image = take(1, rows(), plain, seed=0)[0]['image'].astype(int)
    assert (image[..., 0] - image[..., 1] > 50).any((1, 2)).all(), 'each has a circle'


def test_only_images_in_training_change():
    fields = config(insert_probability=1.0, with_mask=True)
    batch = take(1, rows(), fields, seed=0)[0]
    plain = take(1, rows(), config(insert='', with_mask=True), seed=0)[0]
    assert (batch['image'] != plain['image']).any()
    for name in set(batch) - {'image'}:
        np.testing.assert_array_equal(batch[name], plain[name])
    assert not framed(everything(rows(), fields)).any()


def test_bias_variables_say_what_is_there():
    records = tiny_records(32, size=SIDE)
    fields = config(insert='ruler+red_circle', insert_probability=0.5)
    insertion = targeted.named(fields, seed=0)
    assert insertion is not None
    for names, value in ((('no', 'yes'), 1), (('dense', 'none'), 0), (('left', 'right'), UNKNOWN)):
        bias = {'ruler': names, 'camera': ('a', 'b', 'c')}
        for step, batch in enumerate(take(8, records, fields, seed=0, bias=bias)):
            for k, row in enumerate(batch['index'].tolist()):
                _, kind = insertion(records.read(row), str(records.ids[row]), 8 * step + k)
                known = value if kind == 'ruler' else records.bias['ruler'][row]
                assert batch['ruler'][k] == known
                assert batch['camera'][k] == records.bias['camera'][row]
    assert set(targeted.SHOWS) <= set(overlays.KINDS)


def test_a_training_run_says_what_values_mean():
    """The names are those of the data set, whose order is that of a table."""
    data = tiny_data(32, size=16)
    data = dataclasses.replace(data, bias={**data.bias, 'ruler': ('dense', 'none')})
    run = shrink(recipes.unlearning('baseline'), linear=True)
    fields = {'image_size': 16, 'insert': 'ruler', 'insert_probability': 1.0, 'bias': ('ruler',)}
    run = configs.override(run, {f'data.{name}': value for name, value in fields.items()})
    trainer = train.Trainer(configs.resolve(run), data, Mesh.create('jit', 1))
    with contextlib.closing(trainer.batches(0)) as batches:
        assert not next(batches)['ruler'].any()
    data = dataclasses.replace(data, bias={**data.bias, 'ruler': ('left', 'right')})
    with pytest.raises(ValueError, match=r"bias variable 'ruler', whose values \(left, right\)"):
        train.Trainer(configs.resolve(run), data, Mesh.create('jit', 1))


def test_a_note_says_that_an_editor_does_not_see_what_is_inserted():
    def notes(**fields):
        section = config(image_size=8, **fields)
        data = groups.load(lambda section, seed: tiny_data(), section, 0)
        return ' '.join(data.info.get('notes', ()))

    assert "'ruler' is inserted into training images that 'hair'" in notes(
        insert='ruler', purify='hair'
    )
    assert not notes(insert='ruler') and not notes(insert='', purify='hair')


def test_kinds_are_as_likely_and_places_differ():
    insertion = targeted.Insertion(('ruler', 'red_circle', 'frame'), 1.0, 0)
    example = {'image': np.full((32, 32, 3), 200, np.uint8)}
    found = [insertion(example, 'same', position) for position in range(300)]
    counts = {kind: sum(other == kind for _, other in found) for kind in insertion.kinds}
    assert all(abs(n - 100) < 3 * math.sqrt(300 * 2 / 9) for n in counts.values())
    for kind in insertion.kinds:
        images = {changed['image'].tobytes() for changed, other in found if other == kind}
        assert len(images) > 30, 'frames, too, are of different sizes'
    assert (example['image'] == 200).all()


def test_errors():
    def load(**fields):
        section = ml_collections.ConfigDict({**COMMON, 'image_size': 8, 'batch_size': 8, **fields})
        return groups.load(lambda config, seed: tiny_data(), section, 0)

    assert load(insert='ruler + frame').splits
    with pytest.raises(ValueError, match=r"data.insert='ruler\+frme'.*did you mean 'frame'"):
        load(insert='ruler+frme')
    with pytest.raises(ValueError, match=r'insert_probability=1.5; expected 0 \(never\) to 1'):
        load(insert='ruler', insert_probability=1.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        targeted.Insertion((KIND,), 0.5, 0).seed = 1  # type: ignore
