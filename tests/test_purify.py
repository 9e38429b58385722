"""Kind 'purify', and editors while training and judging."""

import hashlib
import json
import signal
import subprocess
from typing import Any

import cv2
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import editing, evaluate, kinds, purify, train
from skinjax.data import groups, images, writing
from tests.helpers import (
    LINEAR,
    command,
    environment,
    flags,
    small,
    wait_for,
    write_folder,
)

DARKER = 'tests.editors.darker'
TINY: dict[str, Any] = {
    'data.n_train': 12,
    'data.n_val': 6,
    'data.n_test': 6,
    'data.image_size': 48,
}


def settings(source='', editors=(DARKER,), **fields: Any):
    return configs.override(kinds.purify(source, editors), {'workers': 2, **fields})


def digests(folder):
    files = [f for f in folder.rglob('*') if f.is_file() and f.suffix in ('.png', '.csv')]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope='module')
def purified(tmp_path_factory):
    work = tmp_path_factory.mktemp('purify') / 'w'
    purify.run(settings(**TINY), work)
    return work


def test_the_folder_is_a_data_set_with_the_edited_images(purified):
    config = configs.resolve(settings(**TINY)).data
    source = groups.load(configs.find('data', 'synthetic').build, config, 0, training=False)
    fields = {'root': str(purified), 'with_mask': True, 'image_size': 48, 'batch_size': 4}
    section = {**configs.train(data='folder').data.to_dict(), **fields}
    wanted = configs.train(data='folder').data
    wanted.update(section)
    found = groups.load(configs.find('data', 'folder').build, wanted, 0)
    assert found.classes == source.classes and found.pairs == source.pairs
    assert set(found.splits) == set(source.splits)
    editor = editing.named(DARKER)
    for name, records in source.splits.items():
        again = found.splits[name]
        assert again.ids.tolist() == records.ids.tolist()
        assert again.columns['editors'].tolist() == [DARKER] * len(records)
        for row in range(len(records)):
            expected, got = editor([records.read(row)])[0], again.read(row)
            assert set(got) == {'image', 'mask', 'artefact'}
            assert np.array_equal(got['image'], expected['image'])
            assert np.array_equal(got['artefact'], expected['artefact'])
            assert np.array_equal(got['mask'] > 0, records.read(row)['mask'] > 127)
            share = float(again.columns['removed'][row])
            assert share == pytest.approx((expected['artefact'] > 0).mean(), abs=1e-6)


def test_what_the_run_says_of_itself(purified):
    results = json.loads((purified / 'results.json').read_text())
    assert results['data']['purified'] == [DARKER]
    rows = writing.read_rows(purified)
    for split, share in results['removed'].items():
        shares = [float(row['removed']) for row in rows if row['split'] == split]
        assert share == pytest.approx(np.mean(shares), abs=1e-6)
    assert images.header(purified / 'figures' / 'before_after.png')[1] > 400
    assert 'before_after' in (purified / 'report.html').read_text().replace(' ', '_')
    assert purify.run(settings(**TINY), purified) == results
    with pytest.raises(ValueError, match=r'chain'):
        purify.run(settings(editors=('hair',), **TINY), purified)


def test_a_killed_run_continues_and_is_the_same(purified, tmp_path):
    work = tmp_path / 'w'
    (config := tmp_path / 'config.py').write_text(
        'from skinjax import kinds\n'
        f'def get_config():\n    return kinds.purify("", ("{DARKER}",))\n'
    )
    call = command(f'--config={config}', f'--workdir={work}', *flags({'workers': 2, **TINY}))
    process = subprocess.Popen(call, env=environment(), stdout=subprocess.DEVNULL)
    wait_for(lambda: len(list(work.glob('images/*.png'))) > 3 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (work / 'DONE').exists()
    purify.run(settings(**TINY), work)
    assert digests(work) == digests(purified)


def test_images_that_are_there_are_not_made_again(tmp_path):
    purify.run(settings(**TINY), tmp_path / 'w')
    one = sorted((tmp_path / 'w' / 'images').iterdir())[0]
    cv2.imwrite(str(one), np.zeros((48, 48, 3), np.uint8))
    (tmp_path / 'w' / 'DONE').unlink()
    purify.run(settings(**TINY), tmp_path / 'w')
    assert not images.decode(one, 48).any()


def test_provenance_of_files(tmp_path):
    root = write_folder(tmp_path / 'data', n=8)
    purify.run(
        settings('folder', **{'data.root': str(root), 'data.image_size': 16}), tmp_path / 'w'
    )
    for row in writing.read_rows(tmp_path / 'w'):
        before = images.decode(root / row['source_image'], 16)
        after = images.decode(tmp_path / 'w' / row['image'], 16)
        assert row['ruler'] in ('0', '1') and row['label'] in ('nevus', 'melanoma')
        assert np.array_equal(after, np.where(before > 10, before - 10, 0))
    fields = {'data.root': str(tmp_path / 'w'), 'data.image_size': 16}
    again = purify.run(settings('folder', **fields), tmp_path / 'again')
    assert again['data']['purified'] == [DARKER, DARKER]
    editors = {row['editors'] for row in writing.read_rows(tmp_path / 'again')}
    assert editors == {f'{DARKER}+{DARKER}'}


def test_editors_that_mark_nothing(tmp_path):
    fields = {'chain': ('inpaint',), 'editors.inpaint.method': 'telea'}
    results = purify.run(settings(**TINY, **fields), tmp_path / 'w')
    assert results['removed'] == {} and not (tmp_path / 'w' / 'artefacts').exists()
    assert {row['removed'] for row in writing.read_rows(tmp_path / 'w')} == {''}


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'chain': ()}, 'chain is empty'),
        ({'chain': ('har',)}, "no editor 'har'.*did you mean 'hair'"),
        ({'data.purify': 'hair'}, "data.purify is 'hair': name all editors in config.chain"),
        ({'workers': -1}, 'workers must be at least 0'),
        ({'chain': ('segment',)}, 'init_from'),
    ],
)
def test_impossible_options_write_nothing(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        purify.run(settings(**TINY, **fields), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()


def test_editors_change_the_images_that_are_trained_on():
    config = small(configs.train(model=LINEAR), **{'data.purify': DARKER})
    plain = configs.override(config, {'data.purify': ''})
    edited, before = train.load_data(config), train.load_data(plain)
    for name, records in edited.splits.items():
        image = before.splits[name].read(0)['image']
        assert np.array_equal(records.read(0)['image'], np.where(image > 10, image - 10, 0))


def test_splits_are_judged_with_and_without_editing(tmp_path):
    config = configs.resolve(small(configs.train(model=LINEAR), **{'evaluate.purify': DARKER}))
    first = train.run(config, tmp_path / 'run')
    names = {'val', 'plain', 'marked', 'balanced', 'reversed', 'aligned'}
    assert set(first['splits']) == names | {f'{name}_purified' for name in names}
    again = configs.evaluate()
    again.init_from = str(tmp_path / 'run')
    fields = {'purify': '', 'bootstrap': 20, 'probes': ('linear',), 'probe_folds': 2}
    again.evaluate.update(fields)
    plain = evaluate.run(configs.resolve(again), tmp_path / 'plain')
    assert plain['splits'] == {name: first['splits'][name] for name in names}
    on_edited = small(configs.train(model=LINEAR), **{'data.purify': DARKER}).data
    again.evaluate.update(fields)
    with again.unlocked():
        again.data = on_edited
    found = evaluate.run(configs.resolve(again), tmp_path / 'edited')
    for name in names:
        for key in ('auc', 'accuracy'):
            assert found['splits'][name][key] == first['splits'][f'{name}_purified'][key]


def test_a_chain_is_a_list_with_commas():
    config = configs.override(kinds.purify(), {'chain': ('segment, hair,inpaint',)})
    assert configs.resolve(config).chain == ('segment', 'hair', 'inpaint')


def test_names_of_editors_and_of_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'hair').mkdir()  # no run: the editor is meant
    image = np.full((32, 32, 3), 180, np.uint8)
    (found,) = editing.named('hair')([{'image': image}])
    assert np.array_equal(found['image'], image)
    with pytest.raises(FileNotFoundError, match=r"\./runs/nowhere does not exist.*kind 'purify'"):
        editing.named('./runs/nowhere')
    with pytest.raises(ValueError, match=r"editor 'segment': config.init_from is empty"):
        editing.named('segment')


def test_an_editor_can_stand_twice_in_a_chain():
    image = np.full((4, 4, 3), 100, np.uint8)
    (found,) = editing.chain(settings(chain=(DARKER, DARKER)))([{'image': image}])
    assert (found['image'] == 80).all()


def test_a_run_of_another_kind_gives_no_editors(tmp_path):
    (tmp_path / 'config.json').write_text('{"kind": "train"}')
    with pytest.raises(ValueError, match=r"kind 'train': name a run of kind 'purify'"):
        editing.named(str(tmp_path))
