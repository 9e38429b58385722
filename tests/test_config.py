"""Locked configs, plug-ins by file name, claims on work directories."""

import json

import pytest

from skinjax import config as configs
from skinjax import recipes


def test_a_typo_names_the_near_miss():
    config = configs.train()
    with pytest.raises(AttributeError, match='learning_rate'):
        config.optimizer.learning_rat = 0.1
    with pytest.raises(ValueError, match=r"no field 'optimizer.lerning_rate'.*'learning_rate'"):
        configs.override(config, {'optimizer.lerning_rate': 0.1})
    with pytest.raises(ValueError, match=r"objectives 'clgr' has no field 'reversl'.*'reversal'"):
        configs.plugin('objectives', 'clgr', reversl=0.1)


def test_an_unknown_plugin_lists_its_siblings():
    with pytest.raises(ValueError, match=r"did you mean 'clgr'.*baseline.*double.*tabe"):
        configs.find('objectives', 'clg')


def test_a_dotted_name_is_imported_as_given():
    import skinjax.objectives.tabe as tabe

    assert configs.find('objectives', 'skinjax.objectives.tabe') is tabe
    with pytest.raises(ValueError, match=r'my\.own\.thing'):
        configs.find('objectives', 'my.own.thing')


@pytest.mark.parametrize('folder', ['data', 'models', 'objectives'])
def test_every_plugin_has_defaults_and_build(folder):
    names = configs.siblings(folder)
    assert names
    for name in names:
        module = configs.find(folder, name)
        assert isinstance(module.DEFAULTS, dict)
        assert callable(module.build)
        assert configs.plugin(folder, name)['name'] == name


def test_a_changed_name_without_its_fields_is_refused():
    config = recipes.unlearning('baseline')
    config.objective.name = 'clgr'
    with pytest.raises(
        ValueError, match=r"objective.name is 'clgr', but .*lacks its fields.*'cap'"
    ):
        configs.resolve(config)


@pytest.mark.parametrize(
    ('field', 'value', 'text'),
    [('kind', 'trian', 'unknown kind'), ('parallel', 'xmap', "'jit' or 'pmap'")],
)
def test_unknown_choices_are_refused(field, value, text):
    config = configs.override(configs.train(), {field: value})
    with pytest.raises(ValueError, match=text):
        configs.resolve(config)


def test_json_round_trip():
    config = recipes.unlearning('clgr')
    again = configs.from_json(json.loads(json.dumps(configs.to_json(config))))
    assert again.to_dict() == config.to_dict()
    with pytest.raises(AttributeError):
        again.nothing = 1


def test_claim(tmp_path):
    config = recipes.unlearning('baseline')
    work = tmp_path / 'run'
    assert configs.claim(config, work) is False
    assert configs.claim(config, work) is False
    (work / 'DONE').touch()
    assert configs.claim(config, work) is True
    with pytest.raises(ValueError, match=r'holds a run of another config \(seed: 0 -> 7\)'):
        configs.claim(configs.override(config, {'seed': 7}), work)
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(ValueError, match='not empty and is no run'):
        configs.claim(config, tmp_path)


def test_differences_are_named_by_their_path():
    old = {'a': 1, 'b': {'c': 2, 'd': 3}}
    new = {'a': 1, 'b': {'c': 5}, 'e': 6}
    assert configs.differences(old, new) == ['b.c: 2 -> 5', 'b.d: 3 -> None', 'e: None -> 6']


def test_load_run_fills_what_an_older_version_lacks(tmp_path):
    """Whole fields, nested ones and those of plug-ins; what is stored stays."""
    config = recipes.double('lntl_tabe')
    config.train.update(epochs=7, ema=0.5)
    old = configs.to_json(config)
    del old['distributed'], old['train']['head_first'], old['evaluate']['mean_over']
    del old['model']['pretrained'], old['data']['camera_skew'], old['objective']['second']['cap']
    old['train']['gone'] = 1  # a field that no longer exists does no harm
    (tmp_path / 'config.json').write_text(json.dumps(old))
    found = configs.load_run(tmp_path)
    assert found.train.gone == 1
    with found.unlocked():
        del found.train.gone
    assert found.to_dict() == config.to_dict()
    with pytest.raises(AttributeError):
        found.nothing = 1


def test_load_run_of_another_kind_is_as_stored(tmp_path):
    (tmp_path / 'config.json').write_text('{"kind": "export", "tta": "on"}')
    assert configs.load_run(tmp_path).to_dict() == {'kind': 'export', 'tta': 'on'}


def test_load_run_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match='not the directory of a run'):
        configs.load_run(tmp_path)
