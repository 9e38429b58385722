"""The audit 'counterfactual' of finished runs, from the config to the report."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from skinjax import audit, kinds, train
from skinjax import config as configs
from skinjax.auditing import calling, classifiers, removal, switch_tables
from skinjax.audits import counterfactual
from skinjax.engine.writer import read_json
from skinjax.predictions import Predictions
from tests.audits.test_counterfactual import border, bright_records, judge
from tests.helpers import shrink

POOLED = configs.plugin('models', 'tests.audits.pooled_encoder')
TINY = {'kinds': ('frame', 'ink'), 'masks': 1, 'strengths': (0.5,), 'examples': 1, 'bootstrap': 10}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A finished run of the synthetic lesions."""
    work = tmp_path_factory.mktemp('runs') / 'pooled'
    fields: dict[str, Any] = {'evaluate.probes': ()}
    train.run(shrink(configs.train(model=POOLED), **fields), work)
    return work


def test_a_run_is_audited_with_its_own_data(trained, tmp_path, capsys):
    config = kinds.audit('counterfactual', **TINY)
    config.init_from = str(trained)
    wrong = configs.override(config, {'audit.split': 'tset'})
    with pytest.raises(ValueError, match="split is 'tset'"):
        audit.run(configs.resolve(wrong), tmp_path / 'w')
    assert not (tmp_path / 'w').exists()
    found = audit.run(configs.resolve(config), tmp_path / 'w')
    out = capsys.readouterr().out
    assert out.index(f'{switch_tables.INSERTED}\n') < out.index(removal.CAPTIONS[removal.WITH])
    assert 'Strength of the artefact' not in out
    assert (tmp_path / 'w' / 'DONE').exists() and found['n'] == 24
    assert list(found['data']) == ['pooled'] == list(found['thresholds'])
    assert (
        found['thresholds']['pooled'] == read_json(trained / 'results.json')['threshold']['value']
    )
    said = Predictions.read_csv(trained / 'predictions' / 'plain.csv')
    clean = Predictions.read_csv(tmp_path / 'w' / 'predictions' / 'pooled' / 'clean.csv')
    np.testing.assert_array_equal(clean.ids, said.ids)
    np.testing.assert_allclose(clean.scores, said.scores, atol=1e-6)
    page = (tmp_path / 'w' / 'report.html').read_text()
    for heading in ('Predictions that switch', 'Strength and response', 'Removal', 'move most'):
        assert heading in page
    assert sum(found['removal']['n'].values()) == 24
    assert found['removal']['found_by']['ruler'] == 'flag ruler'


def test_runs_are_compared_on_some_of_their_images(trained, tmp_path):
    config = kinds.audit('counterfactual', **{**TINY, 'kinds': ('frame',), 'removal': (), 'n': 9})
    config.audit.runs = f'a={trained},b={trained}'
    found, _ = counterfactual.build(section(config))(tmp_path)
    first, second = found['switches']
    assert (first['classifier'], second['classifier'], first['n']) == ('a', 'b', 9)
    assert second['more']['value'] == 0 and np.isnan(second['more']['low'])
    assert first['switched'] == second['switched']


def section(config):
    """The section as kind 'audit' hands it to the audit."""
    above = {field: config[field] for field in kinds.RUN if field in config}
    return configs.make({**config.audit, **above})


def test_runs_of_the_same_data_share_pictures_and_need_no_explainer(trained):
    fields = {'init_from': str(trained), 'root': '', 'devices': 0, 'split': ''}
    one, again = (classifiers.of_run(name, configs.make(fields)) for name in 'ab')
    assert one.explain is None and one.pictures and one.pictures == again.pictures
    assert calling.together([one, again]) == [[one, again]]


def test_classifiers_of_other_images_are_not_compared():
    records = bright_records(6)
    one, other = judge(border, records), judge(border, records.select(np.arange(5)), 'other')
    with pytest.raises(ValueError, match=r'plain and other.*seeds.*or with other data; give runs'):
        classifiers.same_rows([one, other])
    labels = records.labels.copy()
    labels[2] ^= 1
    other = judge(border, dataclasses.replace(records, labels=labels), 'other')
    with pytest.raises(
        ValueError, match=rf'other have different labels for 1 of 6.*{records.ids[2]}'
    ):
        classifiers.same_rows([one, other])
    some = counterfactual.some(one, 4, 0)
    assert len(some.records) == 4 and counterfactual.some(one, 0, 0) is one
    again = counterfactual.some(dataclasses.replace(one, name='again'), 4, 0)
    np.testing.assert_array_equal(some.records.ids, again.records.ids)


@pytest.mark.parametrize(
    ('classes', 'same'),
    [
        (('benign', 'melanoma'), True),  # the positive class counts
        (('melanoma', 'nevus'), False),
        (('nevus', 'melanoma', 'keratosis'), False),
    ],
)
def test_classifiers_of_other_classes_are_not_compared(classes, same):
    one = judge(border, bright_records(6))
    other = dataclasses.replace(one, name='b', data=dataclasses.replace(one.data, classes=classes))
    if same:
        classifiers.same_rows([one, other])
    else:
        with pytest.raises(ValueError, match=f'know different classes: nevus.*{classes[1]}'):
            classifiers.same_rows([one, other])
