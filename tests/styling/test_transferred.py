"""Kind 'generate' with the two methods of style transfer, by a network that was trained for it."""

import csv
import json

import numpy as np
import pytest

from skinjax import config as configs
from skinjax import generate, kinds
from skinjax.data import rendering, writing
from skinjax.styling import recolour
from skinjax.styling import report as style_report
from tests.helpers import write_folder

STEPS, SIDE, BATCH = 3, 32, 2


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    """Two recoloured lesions, one of which is an image of some data set."""
    folder, rows = tmp_path_factory.mktemp('photos'), []
    for k, angle in enumerate((-10.0, 15.0)):
        picture = rendering.render(9, k, 1, 64, [], 0)
        made = recolour.recolour(picture.image, picture.mask, angle)
        writing.write_images({'image': made, 'mask': picture.mask}, folder, f'dark{k}')
        rows.append({
            'id': f'dark{k}', 'image': f'images/dark{k}.png', 'mask': f'masks/dark{k}.png',
            'licence': 'CC0', 'source_id': '', 'group': f'patient {k}',
        })  # fmt: skip
    writing.write_csv(folder / 'styles.csv', rows)
    return folder


def settings(method, trained, photographs, **fields):
    given = {
        'data.n_train': 8, 'data.n_val': 4, 'data.n_test': 4, 'data.image_size': SIDE,
        'data.hair': 0.0, 'n': 3, 'batch_size': BATCH, 'style.method': method,
        'style.style': str(photographs), 'style.transfer.weights': str(trained),
        'style.transfer.steps': STEPS, 'gate.least_novelty': 0.0, 'gate.least_structure': -1.0,
        'gate.most_boundary': 1e9, 'gate.ita_tolerance': 180.0,
    }  # fmt: skip
    return configs.resolve(configs.override(kinds.stylise(), {**given, **fields}))


def table(path):
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('method', ['transfer', 'original'])
def test_a_run_tells_its_losses_and_continues(method, trained, photographs, tmp_path):
    work, config = tmp_path / 'w', settings(method, trained, photographs)
    generate.run(config, work)
    rows = table(work / 'per_image' / 'gate.csv')
    assert {row['asked_low'] == '' for row in rows} == {method == 'original'}
    assert 'losses' not in rows[0] and 'losses' not in writing.read_rows(work)[0]
    curves = table(work / 'per_image' / 'losses.csv')
    assert [(row['id'], row['step']) for row in curves] == [
        (row['id'], str(step)) for row in rows for step in range(STEPS)
    ]
    values = np.array([[float(row[name]) for name in style_report.LOSSES] for row in curves])
    assert (values[:, 0] > 0).all() and values.min() >= 0  # style 0 where it starts from the style
    assert (work / 'figures' / 'losses.png').is_file()
    about = writing.read_facts(work)['info']['generated']
    used = about['style']['transfer']
    assert used['steps'] == STEPS
    assert used['init'] == {'transfer': 'content', 'original': 'style'}[method]
    assert [*about['sources']['files']] == ['config.style.transfer.weights']
    # Training refuses what shows a photograph of those that it is judged on.
    shown = {row['photo'].replace('dark', 'patient ') for row in writing.read_rows(work)}
    groups = {row['group'] for row in table(work / 'trained_on.csv')}
    assert shown and shown == {name for name in groups if name.startswith('patient')}

    names = ('judged.jsonl', 'records.csv', 'per_image/losses.csv')
    files = [*work.rglob('*.png'), *(work / name for name in names)]
    before = {path: path.read_bytes() for path in files}
    (work / 'DONE').unlink()
    kept = (work / 'judged.jsonl').read_text().split('\n')[:BATCH]
    (work / 'judged.jsonl').write_text('\n'.join([*kept, '']))
    generate.run(config, work)
    assert {path: path.read_bytes() for path in files} == before


def test_an_image_without_a_mask_may_show_the_lesion_of_the_photograph(
    trained, photographs, tmp_path
):
    root = write_folder(tmp_path / 'data', n=3, size=SIDE)
    fields = {
        'data.root': str(root), 'data.image_size': SIDE, 'style.method': 'original',
        'style.style': str(photographs), 'style.transfer.weights': str(trained),
    }  # fmt: skip
    config = configs.resolve(configs.override(kinds.stylise('folder'), fields))
    with pytest.raises(ValueError, match=r'all 3 images were rejected .*no lesion mask'):
        generate.run(config, tmp_path / 'w')
    assert not [*(tmp_path / 'w').rglob('*.png')]


def test_curves_keep_their_ends():
    values = [float(k) for k in range(5000)]
    found = style_report.thinned(dict.fromkeys(style_report.LOSSES, values))
    assert len(found['step']) == style_report.POINTS and found['step'][-1] == 4999
    assert found['total'] == found['step'] and found['step'][0] == 0
    assert json.loads(json.dumps(found)) == found
