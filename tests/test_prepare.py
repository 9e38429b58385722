"""Kind 'prepare': the same files whatever happens on the way, and training from them."""

import contextlib
import csv
import hashlib
import importlib.util
import os
import random
import signal
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from skinjax import config as configs
from skinjax import kinds, prepare, recipes, train
from skinjax.data import groups, prepared, shards
from skinjax.data.records import COMMON
from skinjax.engine.writer import read_json
from tests.helpers import (
    ISIC2017,
    ROOT,
    command,
    environment,
    flags,
    shrink,
    wait_for,
    write_folder,
)

SIZES = {'data.n_train': 48, 'data.n_val': 16, 'data.n_test': 16, 'data.image_size': 32}


def settings(source: str = '', **fields: Any) -> configs.Config:
    fields = {name.replace('__', '.'): value for name, value in fields.items()}
    return configs.resolve(configs.override(kinds.prepare(source), fields))


def digests(work: Path) -> dict[str, str]:
    """Of all that must be the same; the report names the directory, the config the archives."""
    own = ('config.json', 'report.html', '.lock')
    files = [p for p in work.rglob('*') if p.is_file() and p.name not in own]
    assert not [path for path in files if 'tmp' in path.name]
    return {
        str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def read(work: Path, **fields: Any):
    config = ConfigDict({**COMMON, **prepared.DEFAULTS, 'root': str(work), **fields})
    return groups.load(prepared.build, config, 0, training=False)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp('folder') / 'data')


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """The folder again, to be harmed."""
    root = write_folder(tmp_path / 'data')
    assert (root / 'records.csv').read_bytes() == (folder / 'records.csv').read_bytes()
    return root


@pytest.fixture(scope='module')
def photographs(tmp_path_factory) -> Path:
    """1,200 rows over twelve photographs: long enough to be killed on the way."""
    root = tmp_path_factory.mktemp('photographs')
    rng = np.random.default_rng(0)
    for k in range(12):
        noise = rng.integers(0, 256, (24, 32, 3), np.uint8)
        cv2.imwrite(str(root / f'{k}.jpg'), cv2.resize(noise, (512, 384)))
    rows = [f'r{k},{k % 12}.jpg,{k % 2},{("train", "val", "test")[k % 3]}' for k in range(1200)]
    (root / 'records.csv').write_text('\n'.join(['id,image,label,split', *rows]))
    return root


KILLED = {'data.image_size': 64, 'shard_rows': 20, 'workers': 2}


@pytest.fixture(scope='module')
def undisturbed(photographs, tmp_path_factory) -> dict[str, str]:
    work = tmp_path_factory.mktemp('undisturbed') / 'w'
    config = configs.override(settings('folder'), {**KILLED, 'data.root': str(photographs)})
    prepare.run(config, work)
    return digests(work)


@contextlib.contextmanager
def start(root: Path, work: Path, source: str = 'folder', **fields: Any):
    """The command in the background; killed at the end if it still runs."""
    values = flags({**KILLED, **fields, 'data.root': root})
    arguments = [f'--config=configs/prepare.py:{source}', *values, f'--workdir={work}']
    process = subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(work: Path) -> int:
    return len(list((work / shards.FOLDER).glob('[!.]*.array_record-*')))


def kill(root: Path, work: Path, rng: random.Random, span: float, **fields: Any) -> bool:
    """Start the command and kill it -9 some time after it begins to write; whether it still ran."""
    before = finished(work)
    with start(root, work, **fields) as process:
        wait_for(lambda: finished(work) != before or process.poll() is not None)
        time.sleep(rng.uniform(0, span))
        running = process.poll() is None
        process.kill()
        process.wait()
    return running and not (work / 'DONE').exists()


def test_killed_at_three_moments(photographs, undisturbed, tmp_path):
    work, rng = tmp_path / 'w', random.Random(0)
    hits = sum(kill(photographs, work, rng, 0.15) for _ in range(3))
    assert hits >= 2 and 0 < finished(work) < 60
    config = configs.override(settings('folder'), {**KILLED, 'data.root': str(photographs)})
    prepare.run(config, work)
    assert digests(work) == undisturbed


@pytest.mark.slow
def test_rate_of_photographs(tmp_path):
    """At least 300 images a second of one core, from JPEG of 1024 x 768."""
    rng, root = np.random.default_rng(0), tmp_path / 'data'
    root.mkdir()
    for k in range(100):
        coarse = rng.integers(60, 220, (24, 32, 3), np.uint8)
        photo = cv2.resize(coarse, (1024, 768), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        photo += rng.integers(-4, 5, photo.shape, np.int16)  # grain: 141 kB
        name = str(root / f'{k}.jpg')
        cv2.imwrite(name, photo.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])
    rows = [f'{k}-{copy},{k}.jpg,{k % 2}\n' for copy in range(15) for k in range(100)]
    (root / 'records.csv').write_text('id,image,label\n' + ''.join(rows), encoding='utf-8')
    config = settings('folder', data__root=str(root), data__bias=(), workers=1)
    began = time.process_time()
    prepare.run(config, tmp_path / 'w')
    rate = 1500 / (time.process_time() - began)
    print(f'{rate:.0f} images a second of processor time')
    assert rate >= 300


@pytest.mark.slow
def test_real_images_killed_at_ten_moments(tmp_path):
    if not ISIC2017.is_dir():
        pytest.skip('no ../shared/data/isic2017')
    fields = {'data.image_size': 128, 'shard_rows': 50}
    config = configs.override(settings('isic2017'), {**fields, 'data.root': str(ISIC2017)})
    begun = time.monotonic()
    prepare.run(config, tmp_path / 'whole')
    span = (time.monotonic() - begun) / 25
    rng, hits, seen = random.Random(0), 0, []
    for _ in range(40):
        hits += kill(ISIC2017, tmp_path / 'w', rng, span, source='isic2017', **fields)
        seen.append(finished(tmp_path / 'w'))
        if hits == 10 or (tmp_path / 'w' / 'DONE').exists():
            break
    print('files after each kill:', seen)
    prepare.run(config, tmp_path / 'w')
    assert digests(tmp_path / 'w') == digests(tmp_path / 'whole')
    assert hits == 10


def test_sigterm_ends_cleanly_and_the_rest_follows(photographs, undisturbed, tmp_path):
    work = tmp_path / 'w'
    with start(photographs, work) as process:
        wait_for(lambda: finished(work) >= 2 or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, out
    assert 'stopped; the same command continues' in out and 'Traceback' not in out
    assert not (work / 'DONE').exists() and not list((work / shards.FOLDER).glob('.*'))
    config = configs.override(settings('folder'), {**KILLED, 'data.root': str(photographs)})
    prepare.run(config, work)
    assert digests(work) == undisturbed


def test_interrupted_at_the_keyboard(photographs, undisturbed, tmp_path, monkeypatch, capsys):
    config = configs.override(settings('folder'), {**KILLED, 'data.root': str(photographs)})
    update = prepare.Progress.update

    def interrupt(self, step, text=''):
        update(self, step, text)
        if step == 333:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(prepare.Progress, 'update', interrupt)
        with pytest.raises(SystemExit) as stop:
            prepare.run(config, tmp_path / 'w')
    assert stop.value.code == 128 + signal.SIGINT
    prepare.run(config, tmp_path / 'w')
    assert 'continuing: 320 of 1200 images are there' in capsys.readouterr().out
    assert digests(tmp_path / 'w') == undisturbed


def test_a_finished_run_is_left_alone_or_repaired(folder, tmp_path, capsys):
    config = settings('folder', data__root=str(folder), data__image_size=8, shard_rows=10)
    results = prepare.run(config, tmp_path / 'w')
    assert results['data']['rows'] == {'train': 24, 'val': 24, 'test': 24}
    assert results['files']['number'] == 9
    before = digests(tmp_path / 'w')
    fewer = configs.override(config, {'workers': 1})  # which changes nothing that is written
    assert prepare.run(fewer, tmp_path / 'w') == results
    assert 'is done' in capsys.readouterr().out
    (tmp_path / 'w' / shards.FOLDER / 'folder-val.array_record-00001-of-00003').unlink()
    prepare.run(config, tmp_path / 'w')
    assert 'continuing: 62 of 72 images are there' in capsys.readouterr().out
    assert digests(tmp_path / 'w') == before
    (tmp_path / 'w' / 'records.csv').unlink()
    (tmp_path / 'w' / '.records.csv.1.tmp').touch()  # of a killed process
    prepare.run(config, tmp_path / 'w')
    assert digests(tmp_path / 'w') == before
    with pytest.raises(ValueError, match=r'holds a run of another config \(quality: 95 -> 50'):
        prepare.run(configs.override(config, {'quality': 50}), tmp_path / 'w')


def test_training_from_prepared_data_gives_the_figures_of_the_source(tmp_path):
    sizes = {**SIZES, 'data.n_train': 32}
    config = configs.override(settings(), {**sizes, 'encoding': 'png', 'shard_rows': 20})
    prepare.run(config, tmp_path / 'prepared')
    original = shrink(recipes.unlearning('clgr'), linear=True, **sizes)
    copied = recipes.unlearning('clgr', 'prepared')
    fields = {'data.root': str(tmp_path / 'prepared'), 'data.image_size': 32}
    copied = shrink(copied, linear=True, **fields)
    copied.data.mean, copied.data.std = original.data.mean, original.data.std
    first = train.run(original, tmp_path / 'original')
    second = train.run(copied, tmp_path / 'copy')
    for block in ('splits', 'insertion', 'probes', 'threshold'):
        assert first[block] == second[block]
    assert second['data']['bayes_auc'] == 0.97


def test_jpeg_is_close_and_small(tmp_path):
    data = {}
    for encoding in ('png', 'jpeg'):
        fields = {**SIZES, 'encoding': encoding, 'data.artefact': 'none'}
        prepare.run(configs.override(settings(), fields), tmp_path / encoding)
        data[encoding] = read(tmp_path / encoding, image_size=32).splits['train']
    for row in range(4):
        one, other = (data[name].read(row)['image'].astype(int) for name in ('png', 'jpeg'))
        assert 0 < np.abs(one - other).mean() < 4
    size = {n: read_json(tmp_path / n / shards.FACTS) for n in data}
    assert len(size['png']) == len(size['jpeg'])


def test_unreadable_images_are_named_or_left_out_and_listed(copy, tmp_path):
    (copy / 'images' / 'train-3.png').write_bytes(b'')
    broken = copy / 'images' / 'val-5.png'
    broken.write_bytes(broken.read_bytes()[:-40])
    fields = {'data__root': str(copy), 'data__image_size': 8}
    with pytest.raises(ValueError, match=r'records.csv row 5: .*train-3.png: the file is empty'):
        prepare.run(settings('folder', **fields), tmp_path / 'raise')
    assert not (tmp_path / 'raise').exists()
    (copy / 'images' / 'train-3.png').write_bytes((copy / 'images' / 'train-4.png').read_bytes())
    with pytest.raises(ValueError, match=r'row 31: .*val-5.png: the PNG data are damaged'):
        prepare.run(settings('folder', **fields), tmp_path / 'raise')
    (copy / 'images' / 'train-3.png').unlink()
    skipping = settings('folder', data__on_error='skip', shard_rows=1, **fields)
    results = prepare.run(skipping, tmp_path / 'w')
    assert results['data']['rows'] == {'train': 23, 'val': 23, 'test': 24}
    assert results['files'].items() >= {'number': 72, 'left_out': 2}.items()  # two without a row
    with (tmp_path / 'w' / 'skipped.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['split'], row['id']) for row in rows] == [('train', 'train-3'), ('val', 'val-5')]
    assert 'no such image' in rows[0]['error'] and 'val-5.png' in rows[1]['error']
    found = read(tmp_path / 'w', image_size=8).splits['train']
    assert len(found) == 23 and 'train-3' not in found.ids
    assert found.read(3)['image'].shape == (8, 8, 3)
    builder: Any = tfds.builder_from_directory(tmp_path / 'w' / shards.FOLDER)
    source = builder.as_data_source('train')
    assert [example['id'].decode() for example in source] == found.ids.tolist()
    for path in (copy / 'images').glob('test-*'):
        path.write_bytes(b'x')
    with pytest.raises(ValueError, match=r"split 'test': no image can be read, the first: test-0"):
        prepare.run(settings('folder', data__on_error='skip', **fields), tmp_path / 'none')


def test_a_row_takes_its_counterfactual_partner_with_it(tmp_path):
    from skinjax import generate

    sizes = {'data.n_train': 24, 'data.n_val': 8, 'data.n_test': 8, 'data.image_size': 32}
    made = configs.resolve(configs.override(kinds.generate(), sizes))
    generate.run(made, tmp_path / 'made')
    names = sorted(path.name for path in (tmp_path / 'made' / 'images').glob('plain-*'))
    (tmp_path / 'made' / 'images' / names[2]).write_bytes(b'x')
    fields = {'data__root': str(tmp_path / 'made'), 'data__image_size': 16}
    prepare.run(settings('folder', data__on_error='skip', **fields), tmp_path / 'w')
    data = read(tmp_path / 'w', image_size=16)
    one, other = data.pairs['ruler']
    assert len(data.splits[one]) == len(data.splits[other]) == 7
    np.testing.assert_array_equal(data.splits[one].groups, data.splits[other].groups)
    assert (tmp_path / 'w' / 'skipped.csv').read_text().count('\n') == 2


@pytest.mark.parametrize('geometry', ['squash', 'crop', 'pad'])
def test_geometry_is_that_of_the_config_for_images_and_masks(tmp_path, geometry):
    from skinjax.data import images

    root = tmp_path / 'data'
    root.mkdir()
    rng = np.random.default_rng(0)
    for name in 'abcdef':
        picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48))
        cv2.imwrite(str(root / f'{name}.png'), picture)
        cv2.imwrite(str(root / f'{name}_mask.png'), np.where(picture[..., 0] > 128, 255, 0))
    rows = [f'{name}.png,{name}_mask.png,{k % 2},train' for k, name in enumerate('abcde')]
    (root / 'records.csv').write_text(
        '\n'.join(['image,mask,label,split', *rows, 'f.png,,1,train'])
    )
    fields = {'data__root': str(root), 'data__image_size': 16, 'data__geometry': geometry}
    results = prepare.run(settings('folder', encoding='png', **fields), tmp_path / 'w')
    assert results['data']['prepared']['geometry'] == geometry
    train = read(tmp_path / 'w', image_size=16, with_mask=True).splits['train']
    for row, name in enumerate('abcdef'):
        found = train.read(row)
        expected = images.decode(root / f'{name}.png', 16, geometry=geometry)
        np.testing.assert_array_equal(found['image'], expected)
        assert ('mask' in found) == (name != 'f')
        if name != 'f':
            mask = images.decode_mask(root / f'{name}_mask.png', 16, geometry=geometry)
            np.testing.assert_array_equal(found['mask'], mask)


def test_archives_are_unpacked_first(folder, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / 'images.zip', 'w') as file:
        for path in sorted((folder / 'images').iterdir()):
            file.write(path, f'images/{path.name}')
    with tarfile.open(tmp_path / 'table.tar.gz', 'w:gz') as file:
        file.add(folder / 'records.csv', 'records.csv')
    archives = f'{tmp_path}/images.zip,{tmp_path}/table.tar.gz'
    fields = {'data__root': str(tmp_path / 'root'), 'data__image_size': 8, 'archives': archives}
    prepare.run(settings('folder', **fields), tmp_path / 'w')
    assert capsys.readouterr().out.count('unpacked into') == 2
    plain = settings('folder', data__root=str(folder), data__image_size=8)
    prepare.run(plain, tmp_path / 'plain')
    assert digests(tmp_path / 'w') == digests(tmp_path / 'plain')
    with zipfile.ZipFile(tmp_path / 'evil.zip', 'w') as file:
        file.writestr('../evil', b'')
    fields['archives'] = f'{tmp_path}/evil.zip'
    with pytest.raises(ValueError, match=r"evil.zip: '../evil': leads out of the folder"):
        prepare.run(settings('folder', **fields), tmp_path / 'other')
    assert not (tmp_path / 'evil').exists() and not (tmp_path / 'other').exists()


def test_a_copy_elsewhere_is_complete(folder, tmp_path, capsys):
    fields = {'data__root': str(folder), 'data__image_size': 8}
    prepare.run(settings('folder', **fields), tmp_path / 'w')
    copied = settings('folder', copy_to=str(tmp_path / 'there'), **fields)
    prepare.run(copied, tmp_path / 'w')
    assert digests(tmp_path / 'there') == digests(tmp_path / 'w')
    assert len(read(tmp_path / 'there', image_size=8).splits['val']) == 24
    capsys.readouterr()
    prepare.run(copied, tmp_path / 'w')
    assert '1 files copied' in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec('gcsfs') is not None, reason='gcsfs is installed')
def test_a_missing_package_for_addresses_is_told_before_the_work(folder, tmp_path):
    fields = {'data__root': str(folder), 'copy_to': 'gs://bucket/x'}
    with pytest.raises(ImportError, match='install gcsfs'):
        prepare.run(settings('folder', **fields), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'encoding': 'webp'}, r"encoding='webp'; known: 'jpeg', 'png'"),
        ({'quality': 0}, 'quality must be from 1 to 100, found 0'),
        ({'shard_rows': 0}, 'shard_rows of at least 1'),
        ({'archives': 'a.zip'}, 'give it with --config.data.root'),
        ({'data__root': 'gs://bucket/x'}, 'data.root: gs://bucket/x is no local folder'),
        ({'data__on_error': 'ignore'}, r"data\.on_error='ignore'; known: 'raise', 'skip'"),
    ],
)
def test_impossible_options(folder, tmp_path, fields, text):
    root = {'data__root': '' if 'archives' in fields else str(folder)}
    with pytest.raises(ValueError, match=text):
        prepare.run(settings('folder', **{**root, **fields}), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()


def test_a_work_directory_in_a_bucket_is_refused():
    with pytest.raises(ValueError, match='--workdir: gs:/bucket/x is no local folder'):
        prepare.run(settings(), Path('gs://bucket/x'))


def test_rows_of_one_id_and_images_of_too_many_pixels(copy, tmp_path):
    table = copy / 'records.csv'
    text = table.read_text()
    table.write_text(text.replace('train-1,', 'train-0,'))
    fields = {'data__root': str(copy), 'data__image_size': 8}
    with pytest.raises(ValueError, match="rows 2 and 3 have the same id 'train-0'"):
        prepare.run(settings('folder', **fields), tmp_path / 'w')
    table.write_text(text)
    from PIL import Image

    Image.new('1', (20_000, 20_000)).save(copy / 'images' / 'val-0.png')
    with pytest.raises(ValueError, match=r'row 26: .*val-0.png: .*too many pixels'):
        prepare.run(settings('folder', **fields), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()
