"""The editor that adds masks."""

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import rundir, train
from skinjax.editors import segment
from tests.helpers import small_run
from tests.tasks.lesions import SIZE, disks, run_config, write_disks


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    root = write_disks(tmp_path_factory.mktemp('disks') / 'data')
    work = tmp_path_factory.mktemp('segment') / 'run'
    train.run(configs.resolve(run_config(root, **{'objective.crop': 1})), work)
    return work


def build(run, **fields):
    values = {**segment.DEFAULTS, 'batch_size': 4, 'init_from': str(run), **fields}
    return segment.build(ConfigDict(values))


def examples(n=6, size=SIZE):
    records = disks(n, 3, 'new', size)
    return [{'image': records.read(i)['image']} for i in range(n)], records


def overlap(mask, truth):
    return ((mask > 0) & (truth > 0)).sum() / ((mask > 0) | (truth > 0)).sum()


def test_masks_of_the_images_size_wherever_there_is_none(run):
    edit = build(run)
    given, records = examples()
    given[3]['mask'] = np.full((SIZE, SIZE), 255, np.uint8)
    before = [{name: array.copy() for name, array in one.items()} for one in given]
    found = edit(given)
    for k, (one, old) in enumerate(zip(found, before, strict=True)):
        np.testing.assert_array_equal(one['image'], old['image'])
        assert set(given[k]) == set(old), 'the input stays as it is'
        assert one['mask'].dtype == np.uint8 and set(np.unique(one['mask'])) <= {0, 255}
        if k not in (1, 3):
            assert overlap(one['mask'], records.read(k)['mask']) > 0.5
    assert (found[3]['mask'] == 255).all()
    assert not (build(run, overwrite=True)(given)[3]['mask'] == 255).all()


def test_one_example_does_not_depend_on_the_others(run):
    edit, (given, _) = build(run), examples()
    together = edit(given)
    for k in (0, 5):
        np.testing.assert_array_equal(edit([given[k]])[0]['mask'], together[k]['mask'])
    assert edit([]) == []


@pytest.mark.parametrize('shape', [(50, 50), (96, 128), (7, 5)])
def test_any_size_is_brought_to_the_networks_and_back(run, shape):
    edit, (given, records) = build(run), examples()
    image = cv2.resize(given[0]['image'], shape[::-1], interpolation=cv2.INTER_CUBIC)
    mask = edit([{'image': image}])[0]['mask']
    assert mask.shape == shape
    truth = cv2.resize(records.read(0)['mask'], shape[::-1], interpolation=cv2.INTER_LINEAR) > 127
    if min(shape) > 10:
        assert overlap(mask, truth) > 0.5


def test_the_threshold_is_that_of_the_run_unless_given(run):
    given, _ = examples()
    plain, same, strict = (
        build(run, threshold=value, fill_holes=False)(given)[0]['mask'] for value in (0.0, 0.4, 1.0)
    )
    np.testing.assert_array_equal(plain, same)
    assert plain.any() and not strict.any()


def test_what_cannot_be_done_is_said(run, tmp_path):
    edit, (given, _) = build(run), examples(2)
    for wrong in (given[1]['image'][..., 0], np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))):
        with pytest.raises(ValueError, match=r'example 1: expected an image uint8 \[h, w, 3\]'):
            edit([given[0], {'image': wrong}])
    with pytest.raises(ValueError, match='batch_size must be at least 1 and threshold 0 to 1'):
        build(run, threshold=1.5)
    with pytest.raises(ValueError, match='init_from is empty'):
        build('')
    with pytest.raises(FileNotFoundError, match='not the directory of a run'):
        build(tmp_path)


def test_a_run_of_another_task_is_refused(tmp_path):
    rundir.claim(small_run('baseline'), tmp_path)
    with pytest.raises(ValueError, match='run of classification; expected one of segmentation'):
        build(tmp_path)
