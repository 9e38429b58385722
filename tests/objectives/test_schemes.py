"""The schemes that a config names, and which of their options it may set."""

import pytest
from ml_collections import ConfigDict

from skinjax.objectives import curricula, schemes
from skinjax.objectives.curricula import Curriculum
from skinjax.objectives.schemes import Scheme
from tests.objectives.made import build
from tests.objectives.test_weighting import fields


class TestParse:
    def test_schemes(self):
        known = {
            '': Scheme(),
            'cb': Scheme(classes='cb'),
            'ohem': Scheme(curriculum='ohem'),
            'spl+es': Scheme(classes='es', curriculum='spl'),
            'logit_adjustment': Scheme(logits='logit_adjustment'),
            'cb+ldam+ohem': Scheme('cb', 'ohem', 'ldam'),
            'ldam_drw': Scheme('cb', '', 'ldam', deferred=True),
            'spl+ldam_drw': Scheme('cb', 'spl', 'ldam', deferred=True),
        }
        assert {scheme: schemes.parse(scheme) for scheme in known} == known
        assert all(schemes.parse(name) for name in schemes.SCHEMES)

    @pytest.mark.parametrize(('scheme', 'name'), [('cb+ohm', 'ohm'), ('cb+', ''), ('none', 'none')])
    def test_unknown_schemes_list_the_known(self, scheme, name):
        known = 'cb, es, spl, ohem, logit_adjustment, balanced_softmax, ldam, ldam_drw; join'
        with pytest.raises(ValueError, match=f"'{name}' is none of {known}"):
            schemes.parse(scheme)

    @pytest.mark.parametrize(
        'scheme',
        ['cb+es', 'spl+ohem', 'cb+cb', 'ldam+balanced_softmax', 'ldam_drw+es', 'ldam+ldam_drw'],
    )
    def test_one_of_each_kind(self, scheme):
        first, second = scheme.split('+')
        with pytest.raises(ValueError, match=f': {first} and {second} exclude each other'):
            schemes.parse(scheme)

    def test_defaults_are_those_of_the_comparison(self):
        made = {
            name: curricula.curriculum(
                name, ConfigDict(schemes.DEFAULTS[name]), 1000, 50, stratified=False
            )
            for name in schemes.CURRICULA
        }
        assert made['spl'] == Curriculum(False, 0.5, 1.0, over=600)
        assert made['ohem'] == Curriculum(True, 0.5, 0.5, warmup=50)


class TestOptions:
    @pytest.mark.parametrize(
        ('given', 'text'),
        [
            ({'weights': 'cbb'}, "'cbb' is none of cb, es, spl, ohem"),
            ({'loss': 'fokal'}, r"config\.objective\.loss is 'fokal'; .*did you mean 'focal'"),
            ({'scope': 'epochs'}, "did you mean 'epoch'"),
            ({'beta': 1.0}, 'beta is 1.0: expected -1 or a share: 0 to below 1'),
            ({'beta': -0.5}, 'beta is -0.5: expected -1 or'),
            ({'defer': 80.0}, 'defer is 80.0: expected a share: 0 to below 1'),
            ({'gamma': -1.0}, r'gamma is -1\.0: expected at least 0'),
            ({'tau': -1.0}, r'tau is -1\.0: expected at least 0'),
            ({'max_margin': float('nan')}, r'max_margin is nan'),
            ({'ohem__warmup': -3.0}, r'ohem\.warmup is -3\.0: expected at least 0'),
            ({'spl__threshold': 0.0}, r'spl\.threshold is 0\.0: expected -1 or a number above 0'),
            ({'ohem__threshold': -0.1}, r'ohem\.threshold is -0\.1: expected -1 or at least 0'),
            ({'spl__over': 1.5}, r'spl\.over is 1\.5: expected a share: 0 to 1'),
            ({'spl__first': 0.0}, r'spl\.first is 0\.0: expected a fraction: above 0'),
            ({'ohem__last': 1.1}, r'ohem\.last is 1\.1: expected a fraction'),
            ({'ohem__drop_top': 1.0}, r'ohem\.drop_top is 1\.0: expected a share'),
        ],
    )
    def test_options_say_what_they_expect(self, given, text):
        with pytest.raises(ValueError, match=text):
            build('weighting', **fields(**given))

    @pytest.mark.parametrize(
        ('given', 'text'),
        [
            ({'weights': 'cb', 'ohem__first': 0.25}, r'ohem\.first is 0\.25, .* with ohem alone'),
            ({'weights': 'spl', 'ohem__drop_top': 0.1}, r"ohem\.drop_top .*weights is 'spl'"),
            ({'weights': 'cb', 'beta': 0.9}, r'beta is 0\.9, which acts with es alone'),
            ({'weights': 'ohem', 'defer': 0.5}, r'defer is 0\.5, which acts with cb or es alone'),
            ({'weights': '', 'scope': 'epoch'}, "scope is 'epoch', which acts with spl or ohem"),
            ({'weights': 'es', 'stratified': True}, 'stratified is True, .* with spl or ohem'),
            ({'weights': 'balanced_softmax', 'tau': 2.0}, 'tau .* with logit_adjustment alone'),
            ({'weights': 'cb', 'max_margin': 0.1}, 'max_margin .* with ldam alone'),
            ({'weights': 'cb', 'gamma': 1.0}, r"gamma is 1\.0, .*loss='focal' alone"),
            (
                {'weights': 'spl', 'spl__threshold': 0.7, 'stratified': True},
                r'spl\.threshold is 0\.7: it is the same for all classes',
            ),
        ],
    )
    def test_options_that_would_do_nothing_are_refused(self, given, text):
        with pytest.raises(ValueError, match=text):
            build('weighting', **fields(**given))

    def test_options_of_what_is_named_are_taken(self):
        given = {'weights': 'ldam_drw+spl', 'max_margin': 0.1, 'defer': 0.5, 'scope': 'epoch'}
        schemes.check(ConfigDict({**schemes.DEFAULTS, **fields(**given, spl__last=0.9)}))
        schemes.check(ConfigDict({**schemes.DEFAULTS, 'weights': 'es+logit_adjustment', 'tau': 2}))
