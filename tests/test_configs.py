"""Every config file: it loads, resolves, says its command, and its plug-ins fit."""

import importlib.util
from pathlib import Path

import pytest

from skinjax import config as configs
from skinjax import experiments, recipes, rundir

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / 'configs').glob('*.py'))


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_config_resolves_and_tells_its_command(path):
    module = load(path)
    assert '\\\\\n' not in path.read_text('utf-8')  # commands are pasted from there
    assert f'--config=configs/{path.name}' in (module.__doc__ or '')
    config = module.get_config()
    assert configs.resolve(config).kind in configs.KINDS
    assert (ROOT / 'skinjax' / f'{config.kind}.py').exists()


@pytest.mark.parametrize('method', ['baseline', *recipes.UNLEARNING, 'group_dro'])
@pytest.mark.parametrize('variant', recipes.VARIANTS)
def test_variants_resolve(method, variant):
    if (variant == 'paper' and method not in recipes.UNLEARNING) or (
        (method, variant) == ('group_dro', 'resample')
    ):
        with pytest.raises(ValueError, match=f"{method} has no variant '{variant}'"):
            recipes.unlearning(method, variant)
        return
    config = configs.resolve(recipes.unlearning(method, variant))
    if method != 'baseline':
        assert config.objective.bias in config.data.bias
    assert (config.data.name == 'isic2017') == variant.startswith('isic2017')


STUDY = ROOT / 'configs' / 'compare_unlearning.py'


@pytest.mark.parametrize('variant', load(STUDY).VARIANTS)
def test_comparisons_differ_in_the_method_alone(variant):
    config = configs.resolve(experiments.load(f'skinjax:compare_unlearning:{variant}'))
    base = configs.to_json(config.runs.baseline)
    for name, run in config.runs.items():
        changed = rundir.differences(base, configs.to_json(run))
        allowed = ('objective.',) if name in recipes.UNLEARNING else ('objective.', 'data.')
        assert all(line.startswith(allowed) for line in changed), changed


@pytest.mark.parametrize(('variant', 'augment'), [('', ('d4',)), ('kaggle9', ())])
def test_the_published_classifier_sees_its_images_as_they_are(variant, augment):
    config = configs.resolve(load(ROOT / 'configs' / 'lesion_cnn.py').get_config(variant))
    assert config.train.augment == augment


def test_the_paper_variant_has_the_published_strengths():
    found = {m: recipes.unlearning(m, 'paper').objective for m in recipes.UNLEARNING}
    assert (found['lntl'].entropy, found['lntl'].reversal) == (0.01, 0.1)
    assert (found['tabe'].confusion, found['tabe'].reversal) == (0.03, 0.0)
    assert (found['clgr'].confusion, found['clgr'].reversal) == (0.03, 0.1)
    for objective in found.values():
        assert (objective.momentum, objective.cap, objective.head_steps) == (0.9, 0.0, 1)


def test_unknown_variant():
    with pytest.raises(ValueError, match=r"unknown variant 'isic2015' of clgr.*isic2017"):
        recipes.unlearning('clgr', 'isic2015')
