"""What an audit advises: sentences from numbers, and no finding without its interval."""

import copy

import pytest

from skinjax.audits import advice, finding, summary
from skinjax.bootstrap import proportion

AUC = {'value': 0.87, 'low': 0.81, 'high': 0.92}


def probe(auc, low, high):
    return {'auc': auc, 'low': low, 'high': high, 'n': 200, 'kind': 'linear'}


def switched(artefact, count, n=200, **more):
    by_class = {
        'nevus': {'switched_from': count, 'called': n / 2},
        'melanoma': {'switched_from': 0, 'called': n / 2},
    }
    row = {'artefact': artefact, 'n': n, 'switched': proportion(count, n), 'by_class': by_class}
    return row | {'switched_images': float(count), **more}


def gap(low, q):
    sides = {
        name: {'value': name, 'n': 40, 'accuracy': proportion(hits, 40)}
        for name, hits in (('arm', 36), ('back', 20))
    }
    block = {'value': 0.4, 'low': low, 'high': 0.6}
    head = {'flag': 'site', 'class': 'melanoma', 'gap': block, 'p': q, 'q': q}
    return head | {'best': sides['arm'], 'worst': sides['back']}


def enriched(flag, q):
    shares = {'inside': proportion(24, 28), 'outside': proportion(20, 60)}
    head = {'class': 'melanoma', 'cluster': 1, 'flag': flag, 'value': 'yes', 'n': 28}
    return {**head, **shares, 'more': True, 'p': q, 'q': q}


@pytest.fixture
def results():
    """Those of a model that uses a ruler."""
    leaks = {
        'diagnosis': {'linear': probe(0.9, 0.8, 1), 'detected': False, 'by_diagnosis': None},
        'ruler': {
            'linear': probe(0.93, 0.9, 0.96),
            'detected': False,
            'by_diagnosis': {'value': 0.55, 'low': 0.5, 'high': 0.6},
        },
        'hair (detected)': {'linear': probe(0.6, 0.5, 0.7), 'detected': True, 'by_diagnosis': None},
    }
    return {
        'flag_split': 'test',
        'constant': False,
        'images': {'nevus': 120, 'melanoma': 80},
        'flags': {name: {'detected': False} for name in ('ruler', 'site')},
        'splits': {'test': {'n': 200, 'auc': AUC}},
        'gaps': [gap(0.2, 0.001)],
        'leaks': {'reason': None, 'variables': leaks},
        'pairs': [],
        'counterfactual': {'switches': [switched('ruler', 31), switched('hair_dense', 0)]},
        'clusters': {'reason': None, 'enrichment': [enriched('ruler', 0.01)], 'classes': {}},
    }


def told(results, about):
    return [(one.severity, one.text) for one in advice.advise(results) if one.about == about]


def test_a_shortcut_is_told_in_numbers(results):
    found = advice.advise(results)
    order = [finding.SEVERITIES.index(one.severity) for one in found]
    assert order == sorted(order) and len(found) == 6
    (warning, fine) = told(results, 'insertion')
    assert warning[0] == 'warning'
    assert warning[1].startswith(
        'With ruler inserted, 31 of 200 predictions change, 16 % (11 to 21 %): 31 that were called '
        'nevus. Train with it inserted into both classes alike (`--config.data.insert=ruler`,'
    )
    assert fine == (
        'fine',
        'Few or no predictions change with hair dense inserted: 0 % (0 to 2 %) at most, of 200 '
        'images.',
    )
    ((severity, text),) = told(results, 'groups')
    assert severity == 'warning' and 'Of melanoma the model recognises 50 % (35 to 65 %)' in text
    ((severity, text),) = told(results, 'leaks')
    assert severity == 'note' and 'hair' not in text
    assert 'ruler (AUC 0.93 (0.90 to 0.96), from the diagnosis alone 0.55 (0.50 to 0.60))' in text
    ((severity, text),) = told(results, 'clusters')
    assert severity == 'warning' and 'cluster of 28 (cluster 1): 86 % (69 to 94 %)' in text
    assert told(results, 'performance') == [
        ('note', 'On test the AUC is 0.87 (0.81 to 0.92), over 200 images.')
    ]


def test_what_is_not_found_has_its_bound(results):
    results['gaps'] = [gap(-0.1, 0.3)]
    results['leaks']['variables'].pop('ruler')
    results['counterfactual'] = {'switches': [switched('ruler', 0)]}
    results['clusters']['enrichment'] = [enriched('ruler', 0.3)]
    for about in ('groups', 'leaks', 'insertion', 'clusters'):
        ((severity, text),) = told(results, about)
        assert severity == 'fine' and ' to ' in text and '(' in text


def test_what_was_not_looked_at_is_said(results):
    results |= {'flags': {}, 'gaps': [], 'counterfactual': {}}
    results['leaks'] = {'reason': 'No features.', 'variables': {}}
    results['clusters'] = {'reason': 'All maps are zero.'}
    for about in ('groups', 'leaks', 'insertion', 'clusters'):
        assert {severity for severity, _ in told(results, about)} == {'unknown'}
    results['splits']['test'] = {'n': 20, 'auc': {'value': None, 'low': None, 'high': None}}
    results['images'] = {'nevus': 20, 'melanoma': 0}
    few, one_class = told(results, 'performance')
    assert '20 images (20 of nevus, 0 of melanoma): intervals are wide' in few[1]
    assert 'have one diagnosis' in one_class[1]


def test_a_constant_model_ends_it(results):
    results |= {'constant': True, 'counterfactual': {'switches': [switched('ruler', 0)]}}
    assert 'says the same of all 200 images' in told(results, 'performance')[0][1]
    assert not told(results, 'insertion')


def test_pairs_of_the_data_and_of_other_artefacts(results):
    results['pairs'] = [switched('glue', 90, of_data=True)]
    many = [switched(kind, 20 + k) for k, kind in enumerate(('ink', 'frame', 'patches'))]
    results['counterfactual']['switches'] += [*many, switched('ink_spots', 40)]
    first, second, _, others, _ = told(results, 'insertion')
    assert second[1].startswith('With ink spots inserted, 40 of 200')  # the strongest of its family
    assert first[1].startswith('With glue as in the data inserted, 90 of 200')
    assert 'data.insert' not in first[1]
    assert others[1].endswith(
        'too: patches 11 % (7 to 16 %), frame 10 % (7 to 16 %), ink 10 % (7 to 15 %).'
    )


def test_removal(results):
    rows = [switched('hair', 8, 40, images='with'), switched('hair', 0, 60, images='without')]
    results['counterfactual']['removal'] = {'rows': rows}
    ((severity, text),) = told(results, 'removal')
    assert severity == 'note'
    assert '20 % (10 to 35 %) of the predictions of 40 images' in text
    assert 'and 0 % (0 to 6 %) of those of 60 without.' in text


def test_shares_without_intervals_are_not_known(results):
    """All images are of one patient, or nothing was resampled."""
    rows = results['counterfactual']['switches']
    rows[0]['switched'] = {'value': 0.155, 'low': None, 'high': None}
    results['counterfactual']['removal'] = {'rows': [rows[0] | {'images': 'with'}]}
    fine, unknown = sorted(told(results, 'insertion'))
    assert unknown[0] == 'unknown' and 'with ruler inserted cannot be said' in unknown[1]
    assert fine[0] == 'fine' and 'ruler' not in fine[1] and not told(results, 'removal')
    ((severity, _),) = told(results, 'clusters')
    assert severity == 'note'


def test_the_summary(results):
    before = copy.deepcopy(results)
    section = summary.section(results, advice.advise(results))
    assert results == before
    answers = [row[1] for row in section.tables[0].rows]
    assert answers[1:4] == [
        'melanoma by site: back and arm',
        'ruler (AUC of a probe)',
        'ruler (share of predictions)',
    ]
    body = section.parts[0].body
    assert '<li class="warning"><strong>Act on this.</strong> Of melanoma' in body
    assert '<code>--config.data.insert=ruler</code>' in body
    results['gaps'][0]['flag'] = '<b>'
    assert '<b>' not in summary.section(results, advice.advise(results)).parts[0].body
