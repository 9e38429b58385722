"""Kind 'generate' with a style: what it writes, and what training makes of it."""

import csv
import dataclasses
import hashlib
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinjax import config as configs
from skinjax import generate, kinds, rundir, skin, train
from skinjax.data import groups, images, mixing, writing
from skinjax.editors import style
from skinjax.styling import gate as style_gate
from skinjax.styling import recolour, styled_data
from skinjax.styling import report as style_report
from skinjax.styling.judges import Classifier, Judges
from tests.helpers import (
    LINEAR,
    command,
    environment,
    flags,
    small,
    tiny_data,
    wait_for,
    write_folder,
)

LESIONS: dict[str, Any] = {
    'data.n_train': 24, 'data.n_val': 12, 'data.n_test': 12, 'data.image_size': 48,
    'data.hair': 0.0,
}  # fmt: skip
TINY: dict[str, Any] = {**LESIONS, 'workers': 2, 'batch_size': 5, 'style.target': 'V,VI'}


def settings(source: str = '', **fields: Any) -> Any:
    given = (TINY if not source else {}) | fields
    return configs.resolve(configs.override(kinds.stylise(source), given))


def source_of(config: Any) -> Any:
    return groups.load(
        configs.find('data', config.data.name).build, config.data, config.seed, training=False
    )


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    work = tmp_path_factory.mktemp('styled') / 'w'
    # A limit that some fall below.
    fields: dict[str, Any] = {'gate.least_structure': 0.995}
    return work, generate.run(settings(**fields), work)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def test_the_work_directory_is_a_data_set(written, capsys):
    work, results = written
    assert {path.name for path in work.iterdir()} == {
        'config.json', 'results.json', 'images', 'masks', 'records.csv', 'dataset.json', 'figures',
        'trained_on.csv', 'rejected.csv', 'rejected', 'judged.jsonl', 'per_image', 'report.html',
        'sources.json', 'DONE', '.lock',
    }  # fmt: skip
    assert {f.stem for f in (work / 'figures').iterdir()} == {'contact_sheet', 'rejected', 'ita'}
    gate = results['gate']
    assert gate['made'] == 24 and 0 < gate['used'] < 24
    assert results['data']['rows'] == {'train': gate['used']}
    assert sum(results['skin_types'][name]['after'] for name in ('V', 'VI')) == gate['used']
    assert style_report.WARNING in (work / 'report.html').read_text()
    about = writing.read_facts(work)['info']['generated']
    assert about['style']['target'] == 'V,VI' and about['image_size'] == 48
    assert 'transfer' not in about['style']  # of which nothing counts
    assert results['versions'] == rundir.versions()
    again = settings(**{'gate.least_structure': 0.995, 'workers': 1})
    assert generate.run(again, work) == results
    assert 'is done' in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"style.target: 'V,VI' -> 'V'"):
        generate.run(settings(**{'gate.least_structure': 0.995, 'style.target': 'V'}), work)


def test_every_row_tells_where_it_comes_from(written):
    work, _ = written
    config = rundir.load_run(work)
    source = source_of(config).splits['train']
    at = {name: row for row, name in enumerate(source.ids.tolist())}
    rows = writing.read_rows(work)
    for row in rows:
        k = at[row['content']]
        assert row['id'] == f'{row["content"]}-styled' and row['group'] == source.groups[k]
        assert row['label'] == ('nevus', 'melanoma')[source.labels[k]]
        assert row['synthetic'] == '1' and row['method'] == 'colour' and row['seed'] == '0'
        assert row['hair'] == 'no hair' and 'ita' not in row and 'skin_type' not in row
        (expected,) = style.build(config.style)([source.read(k)])
        made = images.decode(work / row['image'], 48)
        assert np.array_equal(made, expected['image'])
        mask = images.decode_mask(work / row['mask'], 48)
        assert np.array_equal(mask > 0, source.read(k)['mask'] > 127)
        assert float(row['ita_after']) == pytest.approx(skin.median_ita(made, mask), abs=1e-3)
        assert float(row['patch_after']) == pytest.approx(skin.patch_ita(made), abs=1e-3)
        assert float(row['patch_before']) == pytest.approx(
            skin.patch_ita(source.read(k)['image']), abs=1e-3
        )
        low, high = float(row['asked_low']), float(row['asked_high'])
        assert low <= float(row['asked_ita']) <= high
        assert (low, high) in (skin.TYPES['V'], skin.TYPES['VI'])
        pixels = np.stack([source.read(other)['image'] for other in range(24)]) / 255
        errors = np.square(pixels - made / 255).mean((1, 2, 3))
        assert float(row['novelty']) == pytest.approx(errors.min(), rel=1e-4)
        assert row['nearest'] == source.ids[errors.argmin()]
    assert len({row['config'] for row in rows}) == 1
    learned = table(work / mixing.TRAINED_ON)
    assert [row['id'] for row in learned] == [row['content'] for row in rows]


def test_what_is_rejected_stands_aside_with_its_reason(written):
    work, results = written
    rejected = table(work / 'rejected.csv')
    assert sum(results['gate']['rejected'].values()) >= len(rejected) > 0
    judged = {row['id']: row for row in table(work / 'per_image' / 'gate.csv')}
    assert len(judged) == 24 and {row['id'] for row in rejected} <= {*judged}
    for row in rejected:
        assert row['reason'] == judged[row['id']]['reason'] != ''
        assert not (work / 'images' / f'{row["id"]}.png').exists()
        assert (work / 'rejected' / 'images' / f'{row["id"]}.png').exists()
        found = {name: float(judged[row['id']][name]) for name in ('structure', 'novelty')}
        assert found['structure'] < 0.995 or found['novelty'] < 0.001


def test_training_takes_the_folder_and_nothing_is_judged_on_it(written, tmp_path):
    work, results = written
    fields = {**LESIONS, 'data.add_generated': str(work), 'train.steps': 2, 'data.n_test': 12}
    config = configs.resolve(small(configs.train(model=LINEAR), **fields))
    data = train.load_data(config)
    assert data.splits['train'].flagged('synthetic').sum() == results['gate']['used']
    assert train.run(config, tmp_path / 'run')['data']['mixed'] == data.info['mixed']
    with pytest.raises(ValueError, match=r"has learned from [0-9]+ rows that are now in 'val'"):
        train.load_data(configs.override(config, {'data.folds': 2}))
    test = settings(**{'split': 'plain', 'n': 4, 'gate.least_novelty': 0.0})
    assert generate.run(test, tmp_path / 'test')['data']['rows'] == {'plain': 4}
    folder = configs.override(
        kinds.generate('folder'), {'data.root': str(tmp_path / 'test'), 'data.image_size': 48}
    )
    with pytest.raises(ValueError, match=r"'plain' has 4 generated images"):
        generate.run(configs.resolve(folder), tmp_path / 'again')


def digests(work: Path) -> dict[str, str]:
    files = [f for f in work.rglob('*') if f.suffix in ('.png', '.csv', '.jsonl')]
    return {str(f.relative_to(work)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_a_killed_run_continues_and_is_the_same(written, tmp_path):
    whole, _ = written
    work = tmp_path / 'w'
    fields = {**TINY, 'gate.least_structure': 0.995, 'batch_size': 1}
    call = command('--config=configs/stylise.py', f'--workdir={work}', *flags(fields))
    process = subprocess.Popen(call, env=environment(), stdout=subprocess.DEVNULL)
    wait_for(lambda: len(list(work.glob('images/*.png'))) > 3 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (work / 'DONE').exists()
    with (work / 'judged.jsonl').open('a', encoding='utf-8') as file:
        file.write('{"id": "torn')  # as a run that is killed while it writes leaves it
    generate.run(settings(**fields), work)
    found, expected = digests(work), digests(whole)
    different = {name for name in found if found[name] != expected.get(name)}
    assert different <= {'records.csv'}  # its column config: batch_size is another
    assert {**found, 'records.csv': ''} == {**expected, 'records.csv': ''}


def test_images_without_mask_or_skin_are_rejected(tmp_path):
    root = write_folder(tmp_path / 'data', n=6, size=32)
    with pytest.raises(ValueError, match=r'all 6 images were rejected .*no lesion mask: use data'):
        generate.run(settings('folder', **{'data.root': str(root)}), tmp_path / 'w')
    assert {row['reason'] for row in table(tmp_path / 'w' / 'rejected.csv')} == {
        'no lesion mask: use data that have one, or --config.chain=segment with a run of it'
    }
    (root / 'masks').mkdir()
    rows = table(root / 'records.csv')
    disk = np.hypot(*(np.mgrid[:32, :32] - 15.5)) < 8
    grey = np.full((32, 32, 3), 128, np.uint8)
    for row in rows:
        row['mask'] = f'masks/{row["id"]}.png' if row['id'] != 'train-1' else ''
        example = {'image': grey, 'mask': np.where(disk, 255, 0).astype(np.uint8)}
        if row['id'] != 'train-2':
            example['image'] = np.where(disk[..., None], (120, 70, 50), (220, 180, 160))
            example['image'] = example['image'].astype(np.uint8)
        if row['id'] == 'train-3':  # reading enlarges it
            example = {name: array[6:26, 6:26] for name, array in example.items()}
        writing.write_images(example, root, row['id'])
        row |= {'fitspatrick': '2', 'skin_cancer_history': 'True'}  # as PAD-UFES-20 has them
    writing.write_csv(root / 'records.csv', rows)
    fields = {'data.root': str(root), 'data.image_size': 32, 'gate.least_novelty': 0.0}
    results = generate.run(settings('folder', **fields), tmp_path / 'again')
    assert results['gate'] == {
        'made': 6,
        'used': 3,
        'rejected': {'no lesion mask': 1, 'no bare skin found': 1, 'less than 32 pixels a side': 1},
    }
    for row in writing.read_rows(tmp_path / 'again'):
        assert row['skin_cancer_history'] == 'True' and 'fitspatrick' not in row


def test_a_classifier_is_asked(written, tmp_path):
    # Weights that hardly move: a linear network is soon sure of everything, whatever the tone.
    fields = {**LESIONS, 'train.steps': 1, 'data.image_size': 32, 'optimizer.learning_rate': 1e-5}
    config = configs.resolve(small(configs.train(model=LINEAR), **fields))
    train.run(config, tmp_path / 'run')
    given: dict[str, Any] = {
        'classifier': str(tmp_path / 'run'), 'n': 7, 'gate.most_change': 0.0,
        'gate.least_novelty': 0.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r'all 7 images were rejected .*change .* more than 0'):
        generate.run(settings(**given), tmp_path / 'w')
    results = generate.run(settings(**{**given, 'gate.most_change': 1.0}), tmp_path / 'v')
    rows = table(tmp_path / 'v' / 'per_image' / 'gate.csv')
    change = [float(row['change']) for row in rows]
    for row, moved in zip(rows, change, strict=True):
        before, after = float(row['probability_before']), float(row['probability_after'])
        assert 0 < before < 1 and after - before == pytest.approx(moved, abs=1e-5)
    found = results['change']['after']['all']
    assert found['n'] == 7 and found['value'] == pytest.approx(np.mean(change), abs=1e-5)
    assert found['mean_abs'] == pytest.approx(np.mean(np.abs(change)), abs=1e-5)
    switched = [row['call_before'] != row['call_after'] for row in rows]
    assert found['switched'] == sum(switched)
    by_type = [part for name, part in results['change']['before'].items() if name != 'all']
    assert sum(part['n'] for part in by_type) == 7
    [warning, learned] = results['remarks']
    assert warning == style_report.WARNING and "'train', which it has learned from" in learned
    asked = Classifier(str(tmp_path / 'run'))
    line = asked.threshold
    for row in rows:
        of = {'nevus': lambda p: 1 - p, 'melanoma': lambda p: p}[row['label']]
        for when in ('before', 'after'):
            above = of(float(row[f'probability_{when}'])) >= line
            assert row[f'call_{when}'] == ('nevus', 'melanoma')[above]
    assert asked.remarks(settings(split='plain')) == []
    [small_] = asked.remarks(settings(**{'split': 'plain', 'data.image_size': 16}))
    assert 'images of 16 pixels enlarged to its 32' in small_
    other = {**given, 'data.classes': 7, 'data.skew': (0.0, 0.0)}
    with pytest.raises(ValueError, match=r'config.classifier knows nevus, melanoma, and there are'):
        generate.run(settings(**other), tmp_path / 'u')


def test_photographs_give_their_skin(tmp_path):
    """And stand between content and result on the contact sheet."""
    source = source_of(settings()).splits['train']
    for k, angle in enumerate((-20.0, 15.0)):
        example = source.read(k)
        made = recolour.recolour(example['image'], example['mask'], angle)
        writing.write_images({'image': made, 'mask': example['mask']}, tmp_path / 'p', f'dark{k}')
    rows = [
        {'id': f'dark{k}', 'image': f'images/dark{k}.png', 'mask': f'masks/dark{k}.png'}
        for k in range(2)
    ]
    writing.write_csv(tmp_path / 'p' / 'styles.csv', [{**row, 'licence': 'CC0'} for row in rows])
    fields = {'style.style': str(tmp_path / 'p'), 'style.target': '', 'n': 6}
    generate.run(settings(**fields), tmp_path / 'w')
    found = table(tmp_path / 'w' / 'per_image' / 'gate.csv')
    assert {row['photo'] for row in found} == {'dark0', 'dark1'}
    for row in found:
        assert row['asked_ita'] == row['asked_low'] == row['asked_high']
        asked = float(row['asked_ita'])
        assert asked == pytest.approx({'dark0': -20, 'dark1': 15}[row['photo']], abs=5)
        assert float(row['ita_after']) == pytest.approx(asked, abs=3)
    page = images.decode(tmp_path / 'w' / 'figures' / 'contact_sheet.png', 600)
    assert page.std() > 20
    about = writing.read_facts(tmp_path / 'w')['info']['generated']['sources']['photographs']
    files = {f'dark{k}': (tmp_path / 'p' / 'images' / f'dark{k}.png') for k in range(2)}
    assert {name: photo['sha256'] for name, photo in about.items()} == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
    }
    assert about['dark0']['licence'] == 'CC0'
    # Another file behind the same path: what is there is not continued.
    (tmp_path / 'w' / 'DONE').unlink()
    files['dark0'].write_bytes(files['dark1'].read_bytes())
    with pytest.raises(ValueError, match=r'begun with other files .*photographs.dark0.sha256'):
        generate.run(settings(**fields), tmp_path / 'w')


def test_the_chain_comes_first(tmp_path):
    name = 'tests.editors.darker'
    config = configs.override(kinds.stylise(), {**TINY, 'n': 2})
    with config.unlocked():
        config.chain, config.editors['tests_editors_darker'] = (name,), {'by': 60}
    generate.run(configs.resolve(config), tmp_path / 'w')
    found = table(tmp_path / 'w' / 'per_image' / 'gate.csv')
    generate.run(settings(n=2), tmp_path / 'v')
    plain = table(tmp_path / 'v' / 'per_image' / 'gate.csv')
    for one, other in zip(found, plain, strict=True):
        assert float(one['ita_before']) < float(other['ita_before']) - 5


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'n': -1}, 'config.n must be at least 0, found -1'),
        ({'batch_size': 0}, 'config.batch_size must be at least 1'),
        ({'split': 'tran'}, "config.split is 'tran'; did you mean 'train'"),
        ({'data.purify': 'hair'}, "config.data.purify is 'hair': .* config.chain"),
        ({'data.add_generated': 'x'}, "config.data.add_generated is 'x': the images of the source"),
        ({'gate.ita_tolerance': -1.0}, 'config.gate.ita_tolerance is -1'),
        ({'style.target': 'VII'}, "editor 'style': style.target: no type 'VII'"),
        ({'classifier': 'nowhere'}, 'nowhere/config.json does not exist'),
        ({'chain': ('har',)}, "config.chain: no editor 'har'"),
    ],
)
def test_impossible_options_write_nothing(fields, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        generate.run(settings(**fields), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()


def test_runs_of_before_an_option_are_known(written, tmp_path):
    """As of a version that lacked an option of the editor, or of the gate."""
    work, _ = written
    values = json.loads((work / 'config.json').read_text())
    del values['style']['feather'], values['editors']['hair']['fill']
    (tmp_path / 'config.json').write_text(json.dumps(values))
    assert rundir.load_run(tmp_path).style.feather == style.DEFAULTS['feather']


@pytest.mark.parametrize(
    ('name', 'changes'),
    [
        ('ITA', True), ('fst_corrected', True), ('fitspatrick', True), ('skin_tone', True),
        ('Fitzpatrick_scale', True), ('monk_scale', True), ('phototype', True), ('tone', True),
        ('skin_cancer_history', False), ('hospital', False), ('monkeypox', False), ('hair', False),
    ],
)  # fmt: skip
def test_names_of_what_recolouring_changes(name, changes):
    assert bool(styled_data.SKIN.search(name)) == changes


def test_the_training_set_is_read_once_an_image_is_judged():
    def read(row):
        raise ValueError(f'row {row} is read')

    data = tiny_data(4)
    train = dataclasses.replace(data.splits['train'], read=read)
    judges = Judges(settings(), dataclasses.replace(data, splits={'train': train}))
    assert judges([], [], []) == []
    image = np.zeros((48, 48, 3), np.uint8)
    with pytest.raises(ValueError, match='is read'):
        judges([image], [image], ['nevus'])


def test_changes_of_what_nothing_else_speaks_against():
    row = {'label': 'nevus', 'ita_before': 60.0, 'ita_after': 0.0}
    reasons = ('', 'change +0.6 is more than 0.5', 'structure 0.1 is below 0.9; change +0.7 is')
    rows = [{**row, 'reason': reason, 'change': 0.1 * k} for k, reason in enumerate(reasons)]
    for k, one in enumerate(rows):
        one |= {'call_before': 'nevus', 'call_after': ('nevus', 'melanoma', 'melanoma')[k]}
    found = style_report.summary(rows)['change']['after']['all']
    assert found['n'] == 2 and found['value'] == pytest.approx(0.05)
    assert found['switched'] == 1


def test_types_of_angles():
    angles = np.array([np.nan, 60.0, 55.0, 41.5, 30.0, 20.0, 10.5, 10.0, -50.0])
    assert style_report.types(angles) == ['', 'I', 'II', 'II', 'III', 'IV', 'V', 'VI', 'VI']
    assert style_gate.DEFAULTS.keys() == style_gate.RANGES.keys()
