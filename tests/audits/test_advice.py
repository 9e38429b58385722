"""What an audit advises: sentences from numbers, and no finding without its interval."""

import copy
from typing import Any

import pytest

from skinjax.auditing import advice, finding, summary
from tests.audits.advised import enriched, gaps, known, of_shortcut, recognised, switched, told


@pytest.fixture
def results() -> dict[str, Any]:
    return of_shortcut()


def test_a_shortcut_is_told_in_numbers(results):
    found = advice.advise(results)
    order = [finding.SEVERITIES.index(one.severity) for one in found]
    assert order == sorted(order) and len(found) == 7
    (warning, fine) = told(results, 'insertion')
    assert warning[0] == 'warning'
    assert warning[1].startswith('With ruler inserted, 31 of 200 predictions change, 16 % (')
    assert '31 that were called nevus. They turn mainly one way (q = ' in warning[1]
    assert '(in skinjax: `--config.data.insert=ruler`, see' in warning[1]
    assert fine == (
        'fine',
        'Few or no predictions change with hair dense inserted: at most, with hair dense, 0 % (0 '
        'to 2 %), of 200 images.',
    )
    ((severity, text),) = told(results, 'groups')
    assert severity == 'warning' and 'Of melanoma the model recognises 50 % (35 to 65 %)' in text
    assert 'Images with “back” may also be harder. Report both figures, and find out why' in text
    ((severity, text),) = told(results, 'leaks')
    assert severity == 'note' and 'hair' not in text
    assert 'ruler (AUC 0.93 (0.90 to 0.96), from the diagnosis alone 0.55 (0.50 to 0.60)' in text
    assert '; above this and chance by 0.38 (0.35 to 0.41))' in text
    ((severity, text),) = told(results, 'clusters')
    assert severity == 'warning'
    assert 'a cluster of 28 (cluster 1) goes with ruler “yes”: 86 % (69 to 94 %)' in text
    assert told(results, 'performance') == [
        ('note', 'On test the AUC is 0.87 (0.81 to 0.92), over 200 images.'),
        (
            'note',
            'At the threshold 0.4 the model recognises 83 % (76 to 89 %) of 120 nevus and 80 % (70 '
            'to 87 %) of 80 melanoma.',
        ),
    ]


def test_what_is_not_found_has_its_bound(results):
    results['gaps'] = gaps(370, 370, 400)
    results['leaks']['variables']['ruler'] = known(0.6, 0.56, 0.64, 0.2)
    results['leaks']['variables'].pop('hair (detected)')
    results['counterfactual'] = {'switches': [switched('ruler', 0)]}
    results['clusters']['enrichment'] = enriched(100, 400, 500, 2000)
    for about in ('groups', 'leaks', 'insertion', 'clusters'):
        ((severity, text),) = told(results, about)
        assert severity == 'fine' and ' to ' in text and '(' in text


def test_what_an_interval_leaves_open_is_not_known(results):
    results['gaps'] = gaps(8, 5, 12)
    results['leaks']['variables'] = {'hair': known(0.6, 0.5, 0.7, 0.4)}
    results['clusters']['enrichment'] = enriched(10, 20)
    results['counterfactual'] = {'switches': [switched('ruler', 1, n=20), switched('ink', 0)]}
    ((severity, text),) = told(results, 'groups')
    assert severity == 'unknown' and 'too few images to rule it out: melanoma by site' in text
    assert 'a gap of 25 % (-13 to 55 %)' in text
    ((severity, text),) = told(results, 'clusters')
    assert severity == 'unknown' and 'some are too small to rule it out; nearest is ruler' in text
    ((severity, text),) = told(results, 'leaks')
    assert severity == 'unknown' and 'to rule it out, as of hair (AUC 0.60 (0.50 to 0.70)' in text
    assert 'No flag is surely known better' in text
    fine, unknown = told(results, 'insertion')
    assert fine[0] == 'fine' and 'ink' in fine[1] and 'ruler' not in fine[1]
    assert unknown[0] == 'unknown' and 'change with ruler inserted: with ruler 5 % (' in unknown[1]


def test_what_was_not_looked_at_is_said(results):
    results |= {'flags': {}, 'gaps': [], 'counterfactual': {}}
    results['leaks'] = {'reason': 'No features.', 'variables': {}}
    results['clusters']['enrichment'] = []
    ((_, text),) = told(results, 'clusters')
    assert text.endswith('because there are none.')
    results['clusters'] = {'reason': 'All maps are zero.'}
    for about in ('groups', 'leaks', 'insertion', 'clusters'):
        assert {severity for severity, _ in told(results, about)} == {'unknown'}
    results['splits']['test'] = {'n': 300, 'auc': {'value': None, 'low': None, 'high': None}}
    results['images'] = {'nevus': 20, 'melanoma': 0}
    results['groups'] = 20
    few, one_class = [text for severity, text in told(results, 'performance') if severity != 'note']
    assert 'rests on 20 images of test (20 of nevus, 0 of melanoma): intervals' in few
    assert 'have one diagnosis' in one_class


def test_a_constant_model_ends_it(results):
    results |= {'constant': True}
    results['splits']['test']['n'] = 1000  # more than were looked at
    assert [(one.severity, one.about) for one in advice.advise(results)] == [
        ('warning', 'performance')
    ]
    assert 'says the same of all 200 images' in told(results, 'performance')[0][1]


def test_a_model_that_calls_one_class_gets_no_all_clear(results):
    results['recognised'] = recognised(120, 0)
    results['gaps'] = gaps(0, 0, 400)
    still = [switched('ruler', 31, scale=0.01), switched('ink', 0, scale=0.01)]
    results['counterfactual'] = {'switches': still}
    warning, *_ = told(results, 'performance')
    assert warning[0] == 'warning' and 'never calls an image melanoma' in warning[1]
    assert 'none of 80, 0 % (0 to 5 %)' in warning[1]
    ((severity, text),) = told(results, 'groups')
    assert severity == 'unknown' and 'calls are the same' in text
    ((severity, text),) = told(results, 'insertion')
    assert severity == 'unknown' and 'All 200 images are called nevus' in text
    assert 'moves by 0.1 (0.1 to 0.2) percentage points on average with ruler.' in text
    assert all(one.severity != 'fine' for one in advice.advise(results))
    results['recognised'] = recognised(120, 8)
    warning, *_ = told(results, 'performance')
    assert warning[0] == 'warning' and 'less than half of melanoma: 10 % (5 to 19 %)' in warning[1]


def test_what_the_auc_rests_on_is_said(results):
    results['hard'] = True
    results['splits']['test']['n'] = 5000
    hard, auc, _ = told(results, 'performance')
    assert hard[1].startswith('The model says 0 or 1 and no probabilities')
    assert auc[1].endswith(', over 5000 images; flags were compared on 200 of them.')


def test_several_images_of_a_patient_are_said(results):
    assert 'patients' not in str(told(results, 'performance'))
    results['groups'] = 150
    assert 'The 200 images are of 150 patients or lesions.' in str(told(results, 'performance'))


def test_detectors_err_and_only_artefacts_are_for_training(results):
    results['gaps'] = gaps(36, 20, flag='dark_corner')
    results['flags'] = {'dark_corner': {'detected': False}}
    ((severity, text),) = told(results, 'groups')
    assert severity == 'warning' and 'with group DRO' in text
    results['gaps'] = gaps(36, 20, flag='hair (detected)')
    results['flags'] = {'hair (detected)': {'detected': True}}
    ((severity, text),) = told(results, 'groups')
    assert severity == 'note' and 'by eye first' in text and 'DRO' not in text


def test_what_people_have_flagged_is_told_before_what_detectors_have(results):
    detected = [f'{name} (detected)' for name in ('hair', 'ink', 'patches')]
    results['gaps'] = [row for name in detected for row in gaps(38, 5, flag=name)]
    results['gaps'] += gaps(36, 20, flag='ruler')
    results['flags'] = {name: {'detected': True} for name in detected}
    results['flags'] |= {'ruler': {'detected': False}}
    (severity, text), *others = told(results, 'groups')
    assert severity == 'warning' and 'where ruler is' in text
    assert [severity for severity, _ in others] == ['note', 'note']


@pytest.mark.parametrize(
    ('flag', 'artefact', 'warns'),
    [
        ('dark_corner', 'frame', True),
        ('Rulers', 'ruler_varied', True),
        ('sticker', 'patches', True),
        ('gel_border', 'gel_bubbles', False),
        ('dark_corner (detected)', 'frame', False),
    ],
)
def test_a_cluster_and_a_switch_of_one_artefact(results, flag, artefact, warns):
    results['clusters']['enrichment'] = [row | {'flag': flag} for row in enriched(24, 20)]
    results['flags'][flag] = {'detected': flag.endswith(')')}
    results['counterfactual'] = {'switches': [switched(artefact, 31)]}
    ((severity, _),) = told(results, 'clusters')
    assert severity == ('warning' if warns else 'note')


def test_small_clusters_say_so(results):
    results['clusters']['enrichment'] = enriched(9, 26, 9, 79)
    ((_, text),) = told(results, 'clusters')
    assert 'a cluster of only 9 (cluster 1)' in text


def test_the_summary(results):
    before = copy.deepcopy(results)
    section = summary.section(results, advice.advise(results))
    assert results == before
    answers = [row[2] for row in section.tables[0].rows]
    assert answers[1] == 'melanoma, of 80 images'
    assert answers[2].startswith('melanoma by site: back and arm (q = 0.000')
    assert answers[3:5] == [
        'ruler (AUC of a probe above 0.55, of the diagnosis alone or chance)',
        'ruler (share of predictions)',
    ]
    body = section.parts[0].body
    assert '<li class="warning"><strong>Act on this.</strong> Of melanoma' in body
    assert '<code>--config.data.insert=ruler</code>' in body
    results['gaps'][0]['flag'] = '<b>'
    results['flags']['<b>'] = {'detected': False}
    assert '<b>' not in summary.section(results, advice.advise(results)).parts[0].body


def test_the_summary_goes_by_evidence(results):
    (sure,), (wide,) = gaps(36, 26), gaps(8, 3, 10, 'camera')
    assert wide['gap']['value'] > sure['gap']['value'] and wide['q'] > sure['q']
    results['gaps'] = [wide, sure]
    results['leaks']['variables'].pop('ruler')
    answers = [row[1] for row in summary.rows(results)]
    assert answers[2].startswith('melanoma by site') and answers[3] == 'nothing surely'
