"""Locked configs, plug-ins by file name, claims on work directories."""

import functools
import json
import os
from pathlib import Path

import pytest

from skinjax import config as configs
from skinjax import experiments, kinds, recipes, rundir


def test_a_typo_names_the_near_miss():
    config = configs.train()
    with pytest.raises(AttributeError, match='learning_rate'):
        config.optimizer.learning_rat = 0.1
    with pytest.raises(ValueError, match=r"no field 'optimizer.lerning_rate'.*'learning_rate'"):
        configs.override(config, {'optimizer.lerning_rate': 0.1})
    with pytest.raises(ValueError, match=r"objectives 'clgr' has no field 'reversl'.*'reversal'"):
        configs.plugin('objectives', 'clgr', reversl=0.1)


@pytest.mark.parametrize(
    ('field', 'meant'),
    [
        ('batch_size', 'data.batch_size'),
        ('train.batch_size', 'data.batch_size'),
        ('data.seed', 'seed'),
        ('trian.epochs', 'train.epochs'),
        ('epoch.epochs.epochs', 'train.epochs'),
    ],
)
def test_a_field_of_another_section_is_named_first(field, meant):
    with pytest.raises(ValueError, match=rf"no field '{field}'; did you mean '{meant}'\? known: '"):
        configs.override(configs.train(), {field: 1})


def test_an_unknown_plugin_lists_its_siblings():
    with pytest.raises(
        ValueError, match=r"; did you mean 'clgr'\? known: 'baseline'.*'double'.*'tabe'"
    ):
        configs.find('objectives', 'clg')


@pytest.mark.parametrize(
    ('folder', 'name'),
    [('objectives', 'network'), ('data', 'images'), ('data', ''), ('models', 'os.path')],
)
def test_a_module_that_is_no_plugin_is_as_unknown_as_any(folder, name):
    with pytest.raises(ValueError, match=f"no '{name}' among {folder} .*; known: '"):
        configs.find(folder, name)


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


def test_fields_of_another_plugin_are_refused():
    values = configs.to_json(recipes.unlearning('clgr'))
    values['objective']['name'] = 'baseline'
    with pytest.raises(ValueError, match=r'has fields that it does not know.*made for it'):
        configs.resolve(configs.from_json(values))


def test_the_name_of_a_plugin_stays_even_where_the_fields_are_the_same():
    config = recipes.unlearning('clgr')
    given = {'objective.name': 'tabe', 'objective.confusion': 0.2}
    config.objective.update(name='tabe', confusion=0.2)
    with pytest.raises(ValueError, match=r"config.objective.name .*made for 'tabe'"):
        configs.resolve(config, given)
    with pytest.raises(ValueError, match=r'config.objective.name'):
        configs.override(recipes.unlearning('clgr'), given)
    both = kinds.compare({'clgr': recipes.unlearning('clgr')})
    with pytest.raises(ValueError, match=r'config.runs.clgr.objective.name'):
        configs.override(both, {'runs.clgr.objective.name': 'tabe'})


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
    assert rundir.claim(config, work) is False
    assert rundir.claim(config, work) is False
    (work / 'DONE').touch()
    assert rundir.claim(config, work) is True
    with pytest.raises(ValueError, match=r'holds a run of another config \(seed: 0 -> 7\)'):
        rundir.claim(configs.override(config, {'seed': 7}), work)
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(ValueError, match='not empty and is no run'):
        rundir.claim(config, tmp_path)
    with pytest.raises(ValueError, match='not empty and is no run'):
        rundir.done(config, tmp_path)


@pytest.mark.parametrize(
    ('made', 'section'),
    [
        (lambda: recipes.unlearning('clgr'), ()),
        (lambda: kinds.purify('folder'), ()),
        (lambda: configs.evaluate('folder'), ()),
        (lambda: experiments.load('skinjax:compare_unlearning'), ('runs', 'clgr')),
    ],
    ids=['train', 'purify', 'evaluate', 'compare'],
)
def test_the_directory_of_an_older_version_is_no_other_run(tmp_path, made, section):
    config = made()
    rundir.claim(config, tmp_path)
    (tmp_path / 'DONE').touch()
    path = tmp_path / 'config.json'
    values = json.loads(path.read_text())
    data = functools.reduce(dict.__getitem__, section, values)['data']
    for field in ('only', 'add_generated', 'balance', 'allow_synthetic', 'label_noise'):
        del data[field]  # they came later
    path.write_text(json.dumps(values))
    assert rundir.done(config, tmp_path)
    changed = made()
    with changed.unlocked():
        functools.reduce(getattr, section, changed).data.only = 'melanoma'
    with pytest.raises(ValueError, match=r"another config \([a-z.]*data.only: '' -> 'melanoma'\)"):
        rundir.done(changed, tmp_path)
    data['name'] = 'no_longer_there'
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"data\.name: 'no_longer_there' -> "):
        rundir.done(config, tmp_path)


def test_a_forgotten_folder_is_told_before_that_the_config_is_another(tmp_path):
    config = recipes.unlearning('baseline', 'folder')
    rundir.claim(configs.override(config, {'data.root': 'photos', 'seed': 3}), tmp_path)
    with pytest.raises(
        ValueError, match=r"^data.root is empty.* 'photos': give it with --config.data.root=FOLDER"
    ):
        rundir.done(config, tmp_path)
    with pytest.raises(ValueError, match=r"another config \(data.root: 'photos' -> 'more'; seed"):
        rundir.done(configs.override(config, {'data.root': 'more'}), tmp_path)
    with pytest.raises(ValueError, match=r"another config \(data.*name: 'folder' -> 'synthetic'"):
        rundir.done(recipes.unlearning('baseline'), tmp_path)


def test_another_kind_is_told_without_the_fields_of_both(tmp_path):
    rundir.claim(recipes.unlearning('baseline'), tmp_path)
    with pytest.raises(ValueError, match=r"another config \(kind: 'train' -> 'generate'\)"):
        rundir.claim(kinds.generate(), tmp_path)


def test_a_run_that_was_killed_while_it_wrote_its_config_begins_anew(tmp_path, monkeypatch):
    config, work = recipes.unlearning('baseline'), tmp_path / 'run'
    with monkeypatch.context() as patch, rundir.lock(work):
        patch.setattr(Path, 'replace', lambda *_: pytest.fail('killed'))
        patch.setattr(Path, 'unlink', lambda *_, **__: None)  # nobody tidies up
        with pytest.raises(pytest.fail.Exception):
            rundir.claim(config, work)
    assert {path.name for path in work.iterdir()} == {
        rundir.LOCK,
        f'.config.json.{os.getpid()}.tmp',
    }
    assert not rundir.done(config, work)
    with rundir.lock(work):
        assert not rundir.claim(config, work)
    assert {path.name for path in work.iterdir()} == {rundir.LOCK, 'config.json'}


def test_the_lock_holds_while_the_config_is_replaced(tmp_path):
    config = recipes.unlearning('baseline')
    with rundir.lock(tmp_path):
        rundir.claim(config, tmp_path)
        (tmp_path / 'config.json').unlink()
        rundir.claim(config, tmp_path)
        with pytest.raises(ValueError, match='another process'), rundir.lock(tmp_path):
            pass
    with rundir.lock(tmp_path):
        pass


def test_a_damaged_config_is_named(tmp_path):
    path = tmp_path / 'config.json'
    path.write_text('{"kind": ')
    for read in (rundir.load_run, lambda work: rundir.done(configs.train(), work)):
        with pytest.raises(ValueError, match=f'{path}: not valid JSON'):
            read(tmp_path)


def test_differences_are_named_by_their_path():
    old = {'a': 1, 'b': {'c': 2, 'd': 3}}
    new = {'a': 1, 'b': {'c': 5}, 'e': 6}
    assert rundir.differences(old, new) == ['b.c: 2 -> 5', 'b.d: 3 -> None', 'e: None -> 6']


def test_load_run_fills_what_an_older_version_lacks(tmp_path):
    """Whole fields, nested ones and those of plug-ins; what is stored stays."""
    config = recipes.double('lntl_tabe')
    config.train.update(epochs=7, ema=0.5)
    old = configs.to_json(config)
    del old['distributed'], old['train']['head_first'], old['evaluate']['mean_over']
    del old['model']['pretrained'], old['data']['camera_skew'], old['objective']['second']['cap']
    old['train']['gone'] = 1  # a field that no longer exists does no harm
    (tmp_path / 'config.json').write_text(json.dumps(old))
    found = rundir.load_run(tmp_path)
    assert found.train.gone == 1
    with found.unlocked():
        del found.train.gone
    assert found.to_dict() == config.to_dict()
    with pytest.raises(AttributeError):
        found.nothing = 1


def test_load_run_of_another_kind_is_as_stored(tmp_path):
    (tmp_path / 'config.json').write_text('{"kind": "export", "tta": "on"}')
    assert rundir.load_run(tmp_path).to_dict() == {'kind': 'export', 'tta': 'on'}


def test_load_run_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match='not the directory of a run'):
        rundir.load_run(tmp_path)


def test_load_trained_names_the_field(tmp_path):
    config = configs.evaluate()
    with pytest.raises(ValueError, match=r'^config.init_from is empty: give the directory'):
        rundir.load_trained(config)
    config.init_from = str(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'^config.init_from: .*not the directory of a run'):
        rundir.load_trained(config)
    rundir.claim(kinds.generate(), tmp_path)
    with pytest.raises(ValueError, match=r"^config.init_from: .* is a run of kind 'generate'"):
        rundir.load_trained(config)
    train = recipes.unlearning('tabe')
    rundir.claim(train, tmp_path / 'run')
    config.init_from = str(tmp_path / 'run')
    assert rundir.load_trained(config).to_dict() == train.to_dict()
