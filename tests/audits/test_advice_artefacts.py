"""What is advised about artefacts that are inserted and removed."""

from typing import Any

import pytest

from skinjax.auditing import advice, paired, summary
from tests.audits.advised import gaps, of_shortcut, switched, told


@pytest.fixture
def results() -> dict[str, Any]:
    return of_shortcut()


def test_a_model_that_is_only_unsteady_is_not_told_to_train_with_it(results):
    """As many calls turn one way as the other: no artefact draws it anywhere."""
    both = switched('ruler', 10, 12, right=False)
    results['counterfactual'] = {'switches': [both]}
    ((severity, text),) = told(results, 'insertion')
    assert severity == 'note' and 'Train' not in text
    assert '10 that were called nevus, 12 that were called melanoma' in text
    assert 'only be unsteady near its threshold' in text
    ((severity, _),) = told(results, 'clusters')
    assert severity == 'note'
    # Of one family that is told which has a direction, not that which switches most.
    both, one_way = switched('ruler', 20, 22, right=False), switched('ruler_varied', 14)
    paired.correct([both, one_way])
    results['counterfactual'] = {'switches': [both, one_way]}
    warning, others = told(results, 'insertion')
    assert warning[0] == 'warning' and warning[1].startswith('With ruler varied inserted, 14 of')
    assert others[1].startswith('Predictions change with other artefacts inserted, too: ruler 21 %')


def test_pairs_of_the_data_and_of_other_artefacts(results):
    results['pairs'] = [switched('ruler', 90, of_data=True)]
    many = [switched(kind, 20 + k) for k, kind in enumerate(('ink', 'frame', 'patches'))]
    results['counterfactual'] = {'switches': [*many, switched('ink_spots', 40)]}
    first, second, _, others = told(results, 'insertion')
    assert second[1].startswith('With ink spots inserted, 40 of 200')  # the strongest of its family
    assert first[1].startswith('With ruler as in the data inserted, 90 of 200')
    assert 'data.insert' not in first[1]  # what the editor draws may look otherwise
    assert others[1].startswith('Predictions change with other artefacts inserted, too: frame 10 %')
    assert ', ink 10 % (' in others[1]


def test_removal(results):
    rows = [switched('hair', 8, n=40, images='with'), switched('hair', 0, n=60, images='without')]
    results['counterfactual']['removal'] = {'rows': rows}
    ((severity, text),) = told(results, 'removal')
    assert severity == 'note'
    assert '20 % (' in text and 'of the predictions of 40 images' in text
    assert 'and 0 % (0 to 6 %) of those of 60 without.' in text


def test_images_of_one_patient_say_nothing_of_others(results):
    """No resample differs from another, and a share of none is that of one patient."""
    rows = [switched('frame', 38, patients=1), switched('ink', 0, patients=1)]
    assert rows[0]['switched']['low'] is None
    removal = {'rows': [rows[0] | {'images': 'with'}]}
    results['counterfactual'] = {'switches': rows, 'removal': removal}
    results['groups'] = 1
    results['gaps'] = gaps(36, 20, patients=1)
    ((severity, text),) = told(results, 'groups')
    assert severity == 'unknown' and 'a gap of 40 %, is possible' in text
    unknown, wide = told(results, 'insertion')
    assert (unknown[0], wide[0]) == ('unknown', 'unknown')
    assert 'with frame inserted cannot be said of other images' in unknown[1]
    assert 'too few images' in wide[1] and 'with ink 0 % (0 to 79 %) of 200 do.' in wide[1]
    ((severity, text),) = told(results, 'removal')
    assert severity == 'unknown' and 'no interval can be given' in text
    assert 'All 200 images are of one patient' in str(told(results, 'performance'))
    assert summary.section(results, advice.advise(results)).tables


def test_the_bound_is_that_of_the_widest_row(results):
    """Its own interval and number of images, not those of another row."""
    rows = [switched('ink', 1), switched('frame', 0, n=60, patients=40)]
    results['pairs'], results['counterfactual'] = (
        [rows[0] | {'of_data': True}],
        {'switches': [rows[1]]},
    )
    ((severity, text),) = told(results, 'insertion')
    assert severity == 'fine' and text.endswith('with frame, 0 % (0 to 9 %), of 60 images.')
