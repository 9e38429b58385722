"""configs/weighting.py: its tables, its single runs, and one small table to its end."""

import json

import numpy as np
import pytest

from skinjax import compare, rundir
from skinjax import config as configs
from skinjax.data import ham10000, latents
from tests.helpers import ROOT, shrink
from tests.test_configs import load

WEIGHTING = load(ROOT / 'configs' / 'weighting.py')
PAPER = ('none', 'cb', 'es', 'spl', 'ohem')


@pytest.mark.parametrize('variant', WEIGHTING.VARIANTS)
def test_rows_differ_in_the_method_alone(variant, tmp_path):
    config = configs.resolve(WEIGHTING.get_config(variant))
    compare.check(config)
    base = configs.to_json(config.runs.ce_none)
    for name, run in config.runs.items():
        lines = rundir.differences(base, configs.to_json(run))
        assert (name == 'ce_none') == (not lines)
        assert all(line.startswith(('objective.', 'data.sampling')) for line in lines), lines
        assert run.data.label_noise == (0.1 if variant.endswith('noise') else 0.0)
    assert len(compare.plan(config, tmp_path)) == 3 * len(config.runs)
    assert (config.runs.ce_none.model.name == 'mobilenet') == variant.startswith('ham10000')


@pytest.mark.parametrize('variant', ['', 'ham10000'])
def test_the_rows_of_the_paper_in_its_order(variant):
    config = WEIGHTING.get_config(variant)
    names = tuple(f'{loss}_{scheme}' for loss in ('ce', 'focal') for scheme in PAPER)
    assert config.order == names and set(config.runs) == set(names)
    for name in names:
        loss, scheme = name.split('_')
        found = config.runs[name].objective
        assert (found.loss, found.weights) == (loss, scheme.replace('none', ''))


def test_every_class_has_its_recall_and_support():
    synthetic, real = WEIGHTING.get_config(), WEIGHTING.get_config('ham10000')
    for config, split, names in (
        (synthetic, 'plain', latents.CLASSES[7]),
        (real, 'test', ham10000.ABOUT.classes),
    ):
        paths, support = dict(config.columns), dict(config.support)
        recalls = {paths[heading] for heading in support}
        assert recalls == {f'splits.{split}.classes.{name}.recall.value' for name in names}
        for heading, path in support.items():
            assert path == paths[heading].removesuffix('recall.value') + 'n'
    for code, name in ham10000.DIAGNOSES.items():
        assert f'.{name}.' in dict(real.columns)[f'recall {code}']


def test_what_came_since_and_the_guard():
    beyond = WEIGHTING.get_config('beyond').runs
    assert beyond['ce_sampling'].data.sampling == 'class'
    assert beyond['ce_sampling'].objective.weights == ''
    assert beyond['ce_ldam_drw'].objective.weights == 'ldam_drw'
    assert beyond['ce_spl_stratified'].objective.stratified
    noise = WEIGHTING.get_config('noise').runs
    drops = {name: run.objective.ohem.drop_top for name, run in noise.items()}
    assert drops.pop('ce_ohem_drop_top') == 0.1 and not any(drops.values())


@pytest.mark.parametrize(
    ('variant', 'loss', 'weights', 'sampling'),
    [
        ('ce_none', 'ce', '', 'uniform'),
        ('focal_ohem', 'focal', 'ohem', 'uniform'),
        ('ce_ldam_drw', 'ce', 'ldam_drw', 'uniform'),
        ('ce_cb+ohem', 'ce', 'cb+ohem', 'uniform'),
        ('focal_sampling', 'focal', '', 'class'),
    ],
)
def test_a_single_run(variant, loss, weights, sampling):
    config = configs.resolve(WEIGHTING.get_config(variant))
    assert config.kind == 'train' and config.data.sampling == sampling
    assert (config.objective.loss, config.objective.weights) == (loss, weights)


@pytest.mark.parametrize(
    'variant',
    ['ce', 'ce_', 'cb', 'foo', 'ce_easy', 'ce_cb+es', 'ce_cb+none_es', 'bce_cb', 'isic2018'],
)
def test_an_unknown_variant_is_told_the_known_ones(variant):
    text = (
        rf'unknown variant {variant.replace("+", ".")!r} of weighting: choose one of beyond, noise,'
        r' ham10000, .* focal_cb\+ohem, .* ce or focal and none, sampling or .* ohem, .*ldam_drw'
    )
    with pytest.raises(ValueError, match=text):
        WEIGHTING.get_config(variant)


def test_a_table_of_wrong_labels_to_its_end(tmp_path):
    config = WEIGHTING.get_config('noise')
    for name in set(config.runs) - {'ce_none', 'ce_spl'}:
        with config.unlocked():
            del config.runs[name]
    config.order = ('ce_none', 'ce_spl')
    found = compare.run(shrink(config, linear=True), tmp_path / 'w')
    values = json.loads((tmp_path / 'w' / 'comparison.json').read_text())['values']
    for heading in ('accuracy', 'balanced accuracy', 'recall df', 'flipped, weight'):
        assert all(np.isfinite(values[name][heading]).all() for name in values), heading
    assert values['ce_none']['flipped, weight'] == [pytest.approx(1)]
    assert values['ce_none']['flipped, chosen'] == [None]  # no curriculum decides
    shares = [values['ce_spl'][f'{whose}, chosen'][0] for whose in ('flipped', 'right')]
    assert all(0 <= share <= 1 for share in shares)
    results = json.loads((tmp_path / 'w' / 'ce_spl' / 'seed0' / 'results.json').read_text())
    noise = results['label_noise']
    assert (noise['flipped']['images'], noise['right']['images']) == (3, 29)
    assert sum(results['data']['label_noise']['flipped'].values()) == 3
    own = results['splits']['plain']['classes']['df']['n']
    assert found['support']['recall df'] == (own, own)
    assert f'recall df (n = {own})' in (tmp_path / 'w' / 'table.md').read_text()
