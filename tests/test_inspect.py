"""Kind 'inspect': everything that was planted in a folder is found, and numbers are right."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from skinjax import config as configs
from skinjax import inspect, kinds, synopsis
from skinjax.data import counts, images
from tests.data import layouts
from tests.helpers import ISIC2017, SHARED, sample_isic2017, write_folder

SPLITS = {'train': 12, 'val': 6, 'test': 6, 'extra': 2}
FIELDS = {'data.image_size': 32, 'data.bias': ('ruler', 'hair')}
CLASSES = ('nevus', 'melanoma')
HAM10000 = SHARED / 'data' / 'ham10000'


def picture(seed: int) -> np.ndarray:
    """Smooth blobs that no other seed has."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC)


def plant(root: Path) -> Path:
    """A folder with one problem of each kind, and labels that a ruler gives away in training."""
    (root / 'images').mkdir(parents=True)
    rows = []
    for k, (split, n) in enumerate(SPLITS.items()):
        for i in range(n):
            name, label = f'{split}-{i}', i % 2
            file = root / 'images' / f'{name}.jpg'
            cv2.imwrite(str(file), picture(100 * k + i), [cv2.IMWRITE_JPEG_QUALITY, 95])
            ruler = str(label if split == 'train' else i // 2 % 2) if i < 10 else ''
            cells = (name, f'images/{name}.jpg', split, CLASSES[label], ruler, i // 2 % 2, name)
            rows.append([*cells, 'abc'[i % 3]])
    by_id = {row[0]: row for row in rows}

    def place(name: str, data: bytes, ending: str = 'jpg') -> None:
        by_id[name][1] = f'images/{name}.{ending}'
        (root / 'images' / f'{name}.{ending}').write_bytes(data)

    def read(name: str) -> bytes:
        return (root / 'images' / f'{name}.jpg').read_bytes()

    place('train-3', read('train-3')[: len(read('train-3')) // 2])
    place('train-9', b'no image at all', 'png')
    place('val-2', b'')
    (root / 'images' / 'test-4.jpg').unlink()
    place('test-1', read('train-5'))  # the same file in training and test
    again = cv2.convertScaleAbs(picture(8), alpha=0.9, beta=9)
    place('val-1', cv2.imencode('.jpg', again, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes())
    for name, ending in (('train-6', 'png'), ('train-7', 'bmp')):  # one image, two classes
        place(name, cv2.imencode(f'.{ending}', picture(77))[1].tobytes(), ending)
    place('extra-1', cv2.imencode('.jpg', picture(301)[:40, :50])[1].tobytes())
    by_id['train-0'][6] = by_id['val-0'][6] = 'patient-1'
    by_id['test-0'][6] = by_id['extra-0'][6] = 'patient-2'
    with (root / 'records.csv').open('w', encoding='utf-8', newline='') as file:
        header = ['id', 'image', 'split', 'label', 'ruler', 'hair', 'group', 'site']
        csv.writer(file).writerows([header, *rows])
    return root


def settings(fields: dict[str, Any], source: str = 'folder') -> configs.Config:
    return configs.resolve(configs.override(kinds.inspect(source), fields))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def planted(tmp_path_factory) -> Path:
    return plant(tmp_path_factory.mktemp('planted') / 'data')


@pytest.fixture(scope='module')
def work(planted, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp('inspect') / 'work'
    config = settings({**FIELDS, 'data.root': str(planted), 'data.on_error': 'skip'})
    inspect.run(config, workdir)
    return workdir


@pytest.fixture(scope='module')
def found(work) -> dict[str, Any]:
    return json.loads((work / 'results.json').read_text())


def test_the_work_directory(work, capsys):
    assert {path.name for path in work.iterdir()} == {
        'config.json', 'results.json', 'problems.csv', 'duplicates.csv', 'skipped.csv', 'figures',
        'report.html', 'DONE', '.lock',
    }  # fmt: skip
    drawn = {path.stem for path in (work / 'figures').iterdir()}
    assert drawn == {'classes', 'means', 'duplicates', 'variable_0', 'variable_1'}
    page = (work / 'report.html').read_text()
    assert page.count('<img') == len(drawn)
    for text in ('train-9', 'patient-1', 'Any folder of images', 'data are damaged or cut off'):
        assert text in page
    again = inspect.run(configs.from_json(json.loads((work / 'config.json').read_text())), work)
    assert 'is done' in capsys.readouterr().out and again['problems']['missing'] == 1


def test_every_problem_of_files_is_listed(work, found):
    assert found['problems'] == {'missing': 1, 'unreadable': 3}
    listed = table(work / 'problems.csv')
    assert [(p['id'], p['split'], p['file'], p['kind']) for p in listed] == [
        ('train-3', 'train', 'images/train-3.jpg', 'unreadable'),
        ('train-9', 'train', 'images/train-9.png', 'unreadable'),
        ('val-2', 'val', 'images/val-2.jpg', 'unreadable'),
        ('test-4', 'test', 'images/test-4.jpg', 'missing'),
    ]
    told = ('row 5: .*cut off', 'row 11: .*not a readable', 'row 16: .*empty', 'row 24: .*no such')
    for problem, text in zip(listed, told, strict=True):
        assert re.search(text, problem['problem']), problem
    skipped = table(work / 'skipped.csv')
    assert [list(row.values()) for row in skipped] == [
        [p['split'], p['id'], p['problem']] for p in listed
    ]
    assert found['files']['formats'] == {'BMP': 1, 'JPEG': 21, 'PNG': 1}
    # The damaged JPEG still has a header; the empty, missing and strange files have none.
    assert found['files']['sizes'] == {'64 x 48': 22, '50 x 40': 1}
    assert found['files']['width'] == {'min': 50, 'max': 64}


def test_duplicates_and_leaks(work, found):
    listed = table(work / 'duplicates.csv')
    shown = [(p['id'], p['other_id'], p['kind'], p['leak'], p['same_group']) for p in listed]
    assert shown == [
        ('train-5', 'test-1', 'file', '1', '0'),
        ('train-8', 'val-1', 'near', '1', '0'),
        ('train-6', 'train-7', 'pixels', '0', '0'),
    ]
    assert [(p['label'], p['other_label']) for p in listed][2] == CLASSES
    assert [p['distance'] for p in listed][::2] == ['0', '0'] and int(listed[1]['distance']) <= 8
    del (block := found['duplicates'])['distance'], block['correlation']
    assert block == {
        'file': 1, 'pixels': 1, 'near': 1, 'leaks': 2, 'leaks_between_groups': 2, 'conflicts': 2,
    }  # fmt: skip
    assert found['groups']['count'] == 24 and found['groups']['rows'] == {'1': 22, '2': 2}
    assert found['groups']['divided'] == [
        {'group': 'patient-1', 'splits': {'train': 1, 'val': 1}, 'leak': True},
        {'group': 'patient-2', 'splits': {'test': 1, 'extra': 1}, 'leak': False},
    ]
    (refused,) = found['refused']
    assert "divided between splits; 'train' and 'val' share 1: train-0 and val-0" in refused


def test_counts_and_associations(found):
    halves = {split: dict.fromkeys(CLASSES, n // 2) for split, n in SPLITS.items()}
    assert found['classes'] == halves
    ruler = found['variables']['ruler']['splits']['train']
    assert ruler['values'] == {
        '0': {'nevus': 5, 'melanoma': 0}, '1': {'nevus': 0, 'melanoma': 5},
    }  # fmt: skip
    assert (ruler['unknown'], ruler['association']) == (2, 1.0)
    assert found['variables']['ruler']['splits']['test']['association'] == 0.0
    assert found['strengths']['hair'] == 0.0
    assert found['variables']['site']['kind'] == 'column'
    assert found['variables']['image size']['kind'] == 'file'
    assert found['between']['ruler'].keys() == {'hair', 'image size', 'file format', 'site'}


def test_colours_are_those_of_the_readable_training_images(planted, found):
    good = [row['image'] for row in table(planted / 'records.csv') if row['split'] == 'train']
    good = [name for name in good if 'train-3' not in name and 'train-9' not in name]
    pixels = np.stack([images.decode(planted / name, 32) for name in good]) / 255
    np.testing.assert_allclose(found['colour']['mean'], pixels.mean((0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(found['colour']['std'], pixels.std((0, 1, 2)), atol=1e-9)
    assert found['colour']['images'] == 10


def test_the_result_does_not_depend_on_threads(planted, work, tmp_path, capsys):
    config = settings({**FIELDS, 'data.root': str(planted), 'data.threads': 5})
    inspect.run(config, tmp_path / 'w')
    for name in ('problems.csv', 'duplicates.csv', 'figures/classes.png', 'figures/means.png'):
        assert (tmp_path / 'w' / name).read_bytes() == (work / name).read_bytes()
    results = json.loads((tmp_path / 'w' / 'results.json').read_text())
    first = json.loads((work / 'results.json').read_text())
    assert results.pop('refused') == [
        *first.pop('refused'),
        "4 images cannot be read; data.on_error='skip' leaves them out",
    ]
    assert results == first and not (tmp_path / 'w' / 'skipped.csv').exists()
    out = capsys.readouterr().out
    assert len(out.splitlines()) < 27 and '\n  test-4: ' not in out
    for text in (
        'folder: 26 images of 2 classes in 4 splits, 24 groups',
        'files missing: 1, unreadable: 3; all in problems.csv, the first:\n  train-3: records.csv',
        '\n  val-2: records.csv row 16: ',
        '2 equal, 1 near; 2 leak between splits (2 unknown to the groups), 2 differ in class',
        'groups in several splits: 2, of which 1 leak',
        'ruler 1.00',
        'training refuses it: groups are divided',
    ):
        assert text in out


def test_sources_without_files_or_training_rows(tmp_path):
    sizes = {'data.n_train': 12, 'data.n_val': 6, 'data.n_test': 6}
    sizes |= {'data.image_size': 32, 'data.cache': True}
    found = inspect.run(settings(sizes, 'synthetic'), tmp_path / 'synthetic')
    assert found['data']['rows']['train'] == 12 and found['masks']['count'] == 12 + 6 + 5 * 6
    assert found['files']['sizes'] == {} and found['refused'] == []
    assert found['duplicates']['leaks'] == 0
    root = write_folder(tmp_path / 'data', 4)
    lines = (root / 'records.csv').read_text().splitlines()
    kept = [line for line in lines if 'train' not in line and 'val-' not in line]
    (root / 'records.csv').write_text('\n'.join(kept))
    found = inspect.run(settings({'data.root': str(root)}), tmp_path / 'w')
    assert found['data']['rows'] == {'test': 4} and found['reference'] == 'all splits'
    assert found['refused'] == ["there is no split 'train'; known: 'test'; add it, or divide the "
                                'training rows with data.folds']  # fmt: skip


def test_names_in_another_case_are_told_before_any_advice_to_skip(tmp_path, capsys):
    root = write_folder(tmp_path / 'data', 4, 32)
    path = root / 'records.csv'
    path.write_text(path.read_text().replace('.png', '.PNG'))
    found = inspect.run(settings({'data.root': str(root), 'data.image_size': 32}), tmp_path / 'w')
    assert found['problems'] == {'missing': 12, 'unreadable': 0}
    text = '12 of 12 images cannot be read, 12 of them are missing: check data.root and the names'
    assert found['refused'][-1].startswith(text)
    rows = table(tmp_path / 'w' / 'problems.csv')
    assert len(rows) == 12
    for row in rows:
        other = row['file'].replace('.PNG', '.png')
        assert row['problem'].endswith(f'no such image; there is {other!r}')
    out = capsys.readouterr().out
    assert f'\n  {rows[2]["id"]}: {rows[2]["problem"]}\n' in out and text in out


def test_folds_and_what_is_refused(planted, tmp_path):
    fields = {**FIELDS, 'data.root': str(planted)}
    found = inspect.run(settings({**fields, 'data.folds': 3}), tmp_path / 'folds')
    assert sum(found['data']['rows'].values()) == 26 and found['data']['rows']['val'] < 9
    assert [g['group'] for g in found['groups']['divided']] == ['patient-2']
    changing = {'skew_artefact': 'ruler', 'group_duplicates': 8, 'purify': 'hair'}
    changing |= {'add_generated': 'made', 'add_purified': 'x', 'balance': 'bisla', 'only': 'nevus'}
    changing |= {'label_noise': 0.1}
    for field, value in changing.items():
        with pytest.raises(ValueError, match=rf'data\.{field}={value!r} changes the data for'):
            inspect.run(settings({**fields, f'data.{field}': value}), tmp_path / 'skew')
    assert not (tmp_path / 'skew').exists()


def test_detectors_on_request(tmp_path):
    root = write_folder(tmp_path / 'data', 4, 64)
    marked = cv2.imread(str(root / 'images' / 'val-2.png'))
    assert marked is not None
    marked[:16, :16] = (200, 0, 100)  # gentian violet, hue 270
    cv2.imwrite(str(root / 'images' / 'val-2.png'), marked)
    (root / 'images' / 'train-1.png').write_bytes(b'')
    fields = {'data.root': str(root), 'detect': True, 'data.bias': ('ruler',)}
    with pytest.raises(ValueError, match=r'look at 256 pixels, and data\.image_size is 128'):
        inspect.run(settings(fields), tmp_path / 'w')
    found = inspect.run(settings({**fields, 'data.image_size': 256}), tmp_path / 'w')
    rows = {row['id']: row for row in table(tmp_path / 'w' / 'detected.csv')}
    assert len(rows) == 11 and 'train-1' not in rows
    assert rows['val-2']['split'] == 'val' and rows['val-2']['violet'] == '1'
    assert float(rows['val-2']['gentian_violet']) >= 1 / 16 - 0.001
    for name in ('violet', 'ruler', 'skin_type'):
        block = found['variables'][f'{name} (detected)']
        assert block['kind'] == 'detected' and block['splits']['train']['unknown'] == 1
        for value, counted in block['splits']['val']['values'].items():
            code = value if name == 'skin_type' else str(int(value == 'present'))
            same = [r for r in rows.values() if r['split'] == 'val' and r[name] == code]
            assert sum(counted.values()) == len(same)
    assert found['variables']['ruler']['kind'] == 'bias'
    drawn = [path.stem for path in (tmp_path / 'w' / 'figures').glob('variable_*.png')]
    assert len(drawn) == 1 + 7  # ruler, and seven that are detected


LAYOUTS = [name for name in configs.siblings('data') if hasattr(layouts, name)]


@pytest.mark.parametrize('name', LAYOUTS)
def test_every_published_source_with_two_bad_images(name, tmp_path):
    getattr(layouts, name)(tmp_path)
    config = settings({'data.root': str(tmp_path), 'data.image_size': 8}, name)
    whole = inspect.load(config)
    files = [str(file) for part in whole.splits.values() for file in np.asarray(part.files)]
    Path(files[1]).unlink()
    Path(files[2]).write_bytes(b'no image')
    found = inspect.examine(config, inspect.load(config), lambda done: None)
    problems = [*inspect.list_problems(found, config.data.root)]
    results = inspect.describe(config, found, problems, [*inspect.list_pairs(found)])
    by_file = len(found.records) < len(files)  # the folder is the list of images
    assert results['problems'] == {'missing': 0 if by_file else 1, 'unreadable': 1}
    assert sum(results['files']['sizes'].values()) == len(files) - 2
    assert results['refused'][-1].startswith('1 images cannot' if by_file else '2 images cannot')
    assert f'licence: {whole.info["licence"]}' in synopsis.summary(results).splitlines()[0]


@pytest.mark.skipif(not ISIC2017.is_dir(), reason='no ../shared/data/isic2017')
def test_isic2017(tmp_path):
    root = sample_isic2017(tmp_path / 'data', 48)
    found = inspect.run(settings({'data.root': str(root)}, 'isic2017'), tmp_path / 'w')
    n = sum(found['data']['rows'].values())
    assert found['files'] == {
        'formats': {'JPEG': n}, 'sizes': {'256 x 256': n},
        'width': {'min': 256, 'max': 256}, 'height': {'min': 256, 'max': 256},
    }  # fmt: skip
    assert found['problems'] == {'missing': 0, 'unreadable': 0}
    assert found['groups']['divided'] == [] and found['refused'] == []
    assert found['masks']['count'] > 0 and set(found['variables']) > {'ruler', 'hair'}


@pytest.mark.skipif(not HAM10000.is_dir(), reason='no ../shared/data/ham10000')
def test_the_lesions_that_the_split_of_ham10000_divides():
    columns = {'csv': 'labels.csv', 'id': 'image_id', 'label': 'dx', 'group': 'lesion_id'}
    fields = {'root': str(HAM10000), 'split': 'repo_split', **columns}
    data = inspect.load(settings({f'data.{name}': value for name, value in fields.items()}))
    groups = np.concatenate([part.groups for part in data.splits.values()])
    names = np.repeat([*data.splits], [len(part) for part in data.splits.values()])
    found = counts.grouping(groups, names)
    assert (found['count'], len(found['divided'])) == (7470, 1175)
    assert all(one['leak'] for one in found['divided'])
