"""Five training steps from the same weights on the same batches, in skinjax and in PyTorch.

Where an activation lies within rounding of zero, the two sides may fall on different sides of a
ReLU, and a few steps later everything differs. That depends on the numbers drawn, a wrong update
does not: so a case has to agree for two of three draws.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip('torch')

import torch

from skinjax import config as configs
from skinjax.data.records import DataSet, Records
from skinjax.engine import state
from skinjax.engine.step import example_keys, make_step
from skinjax.models import resnet as skin_resnet
from skinjax.objectives import unlearning
from third_party.torch_baselines import convert, resnet
from third_party.torch_baselines.unlearning import COMPAT, Method, Trainer, inverse_count_weights

# Relative to the largest absolute value of each array.
TOLERANCE = {'values': 1e-5, 'momentum': 2e-5, 'change': 3e-4}
LOOSE = {'values': 2e-5, 'momentum': 1e-4, 'change': 5e-3}
BIAS = {'ruler': ('absent', 'present'), 'camera': ('a', 'b', 'c')}


@dataclasses.dataclass(frozen=True)
class Case:
    """An objective, its fields that differ from the defaults, and those of the optimizer."""

    objective: str
    fields: Mapping[str, Any]
    optimizer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    variant: str = 'narrow'
    size: int = 32
    batch: int = 12
    steps: int = 5
    offset: float = 0.0  # of normalised activations, to keep the many of a deep net off the kink
    tolerance: Mapping[str, float] = dataclasses.field(default_factory=lambda: TOLERANCE)


def published(method: str, rate: float) -> dict[str, Any]:
    """The head of the authors' code."""
    options = {'confusion': 0.0} if method == 'lntl' else {'entropy': 0.0}
    paper = configs.find('objectives', method).PAPER
    return {**options, **paper, 'learning_rate': rate}


HEAD = {'learning_rate': 0.02, 'momentum': 0.9}
ONE = {**HEAD, 'bias': 'camera', 'head_steps': 3}
SDU = {'bias': 'camera', 'compat': ('sdu',), 'head_steps': 1}
CASES = {
    'baseline': Case('baseline', {}),
    'lntl': Case('lntl', ONE),
    'tabe': Case('tabe', ONE),
    'clgr': Case('clgr', ONE),
    'double': Case(
        'double',
        {
            'head_steps': 3,
            'first': {**HEAD, 'bias': 'camera', 'method': 'lntl'},
            'second': {**HEAD, 'bias': 'ruler', 'method': 'clgr'},
        },
    ),
    'lntl sdu': Case('lntl', {**published('lntl', 0.01), **SDU}),
    'tabe sdu': Case('tabe', {**published('tabe', 0.01), **SDU}),
    'clgr sdu': Case('clgr', {**published('clgr', 0.02), **SDU}),
    'double sdu': Case(
        'double',
        {
            'head_steps': 1,
            'compat': ('sdu',),
            'first': {**published('lntl', 0.01), 'bias': 'camera', 'method': 'lntl'},
            'second': {**published('clgr', 0.02), 'bias': 'ruler', 'method': 'clgr'},
        },
    ),
    'options': Case(
        'clgr',
        {**ONE, 'conditional': True, 'hidden': 16, 'clip': 0.1, 'ramp': 1.0},
        {'clip': 0.5, 'weight_decay': 1e-2},
    ),
    'resnet18': Case(
        'clgr', ONE, variant='resnet18', size=64, batch=8, steps=2, offset=1.5, tolerance=LOOSE
    ),
}


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    """Many threads cost PyTorch more than they gain on arrays of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def dataset() -> DataSet:
    """Rows without images: objectives take the training counts from it."""
    rng, n = np.random.default_rng(0), 60
    records = Records(
        np.arange(n).astype(str),
        rng.integers(0, 2, n).astype(np.int32),
        {
            'ruler': rng.choice([-1, 0, 1], n, p=(0.1, 0.7, 0.2)).astype(np.int32),
            'camera': rng.choice([-1, 0, 1, 2], n, p=(0.1, 0.5, 0.3, 0.1)).astype(np.int32),
        },
        np.arange(n).astype(str),
        lambda row: {},
    )
    return DataSet('made', ('benign', 'malignant'), BIAS, {'train': records})


def batches(case: Case, seed: int) -> list[dict[str, np.ndarray]]:
    """Coarse patterns with noise; a quarter of the bias labels is unknown."""
    rng, b, s = np.random.default_rng([1, seed]), case.batch, case.size
    found = []
    for _ in range(case.steps):
        coarse = np.kron(rng.integers(0, 256, (b, 8, 8, 3)), np.ones((1, s // 8, s // 8, 1)))
        image = np.clip(coarse + rng.normal(0, 20, (b, s, s, 3)), 0, 255).astype(np.uint8)
        codes = {
            'label': rng.permutation(b) % 2,
            'ruler': rng.permutation(b) % 3 - 1,
            'camera': rng.permutation(b) % 4 - 1,
        }
        found.append({'image': image, 'valid': np.ones(b, bool)})
        found[-1] |= {name: code.astype(np.int32) for name, code in codes.items()}
    return found


def make_config(case: Case) -> Any:
    """The config of a case, without dropout."""
    objective = configs.plugin('objectives', case.objective)
    for name, value in case.fields.items():
        objective[name] = {**objective[name], **value} if isinstance(value, dict) else value
    model = configs.plugin('models', 'resnet', variant=case.variant)
    config: Any = configs.train(objective=objective, model=model)
    config.model.dropout = 0.0
    config.optimizer.update(learning_rate=0.01, momentum=0.9, **case.optimizer)
    return config


@functools.cache
def compiled(name: str):
    """(jitted step, shapes of the state) of a case."""
    case = CASES[name]
    objective = configs.find('objectives', case.objective).build(
        make_config(case), dataset(), case.steps
    )
    example = jax.tree.map(jnp.asarray, batches(case, 0)[0])
    create = functools.partial(state.create, objective, batch=example, ema=False)
    # Compiling costs far more here than the few steps: the least optimisation is the fastest.
    options = {'xla_backend_optimization_level': '0' if case.variant == 'narrow' else '1'}
    step = jax.jit(make_step(objective), compiler_options=options)
    return step, jax.eval_shape(create, jax.random.key(0))


def random_weights(shapes: Any, seed: int, offset: float = 0.0) -> Any:
    """Random weights, running averages of a fresh model, and zeros for the rest.

    Scales and offsets are random too: a fresh block is the identity, which would hide its inside.
    """
    rng = np.random.default_rng([2, seed])

    def fill(path, leaf):
        keys = [getattr(part, 'key', getattr(part, 'name', '')) for part in path]
        if 'params' not in keys:
            values = np.full(leaf.shape, keys[-1] == 'var')
        elif keys[-1] == 'kernel':
            values = rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape)
        elif keys[-1] == 'scale':
            values = rng.uniform(0.5, 1.0, leaf.shape)
        else:
            values = rng.normal(offset if 'norm' in keys[-2] else 0, 0.1, leaf.shape)
        return values.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


@functools.cache
def run_skinjax(name: str, seed: int):
    """(state before, state after, confusion targets that were drawn: [step][K])."""
    step, shapes = compiled(name)
    key = jax.random.key(seed)
    start = now = random_weights(shapes, seed, CASES[name].offset)
    targets = []
    for batch in batches(CASES[name], seed):
        keys = example_keys(jax.random.fold_in(key, now.step), 1, batch, None)
        draw = {k: jax.vmap(lambda key, k=k: jax.random.uniform(key, (k,)))(keys) for k in (2, 3)}
        targets.append({k: torch.from_numpy(np.array(value)) for k, value in draw.items()})
        now, _ = step(now, batch, key)
    return start, now, targets


def heads(case: Case) -> dict[str, dict[str, Any]]:
    """Bias variable -> options of its head, with the defaults of its method."""
    options = make_config(case).objective
    if case.objective == 'baseline':
        return {}
    if case.objective != 'double':
        return {options.bias: options.to_dict()}
    found = {}
    for which in ('first', 'second'):
        head = options[which].to_dict()
        defaults = configs.find('objectives', head['method']).DEFAULTS
        chosen = {k: defaults[k] for k in ('entropy', 'confusion', 'reversal') if head[k] == -1}
        found[head['bias']] = head | chosen
    return found


def make_trainer(case: Case, weights: Mapping[str, torch.Tensor], compat) -> Trainer:
    """The PyTorch program of a case."""
    encoder, methods, modules = resnet.resnet(case.variant), {}, {}
    train = dataset().splits['train']
    for name, head in heads(case).items():
        classes, values = 2 if head['conditional'] else 1, len(BIAS[name])
        counts = torch.zeros(classes, values)
        for label, value in zip(train.labels, train.bias[name], strict=True):
            if value >= 0:
                counts[label if classes > 1 else 0, value] += 1
        modules[name] = resnet.BiasHead(
            encoder.num_features, values, classes, head['hidden'], head['standardize']
        )
        methods[name] = Method(
            **{k: head[k] for k in ('entropy', 'confusion', 'reversal', 'cap', 'momentum', 'clip')},
            lr=head['learning_rate'],
            weights=inverse_count_weights(counts),
        )
    model = resnet.Classifier(encoder, 1, modules, dropout=0.0)
    model.load_state_dict(weights)
    model = model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    steps = case.fields.get('head_steps', 1)
    return Trainer(model, methods, lr=0.01, head_steps=steps, compat=compat, **case.optimizer)


def run_torch(name: str, seed: int, compat=None) -> Trainer:
    """The trainer after all steps from the same start; `compat` replaces the case's switches."""
    case = CASES[name]
    start, _, targets = run_skinjax(name, seed)
    weights = convert.to_torch(start.params, start.model['batch_stats'])
    trainer = make_trainer(
        case, weights, case.fields.get('compat', ()) if compat is None else compat
    )
    for i, (batch, target) in enumerate(zip(batches(case, seed), targets, strict=True)):
        tensors = {k: torch.from_numpy(v) for k, v in batch.items()}
        bias = {k: tensors[k].long() for k in trainer.methods}
        seen = {k: next(iter(bias)) if 'shared_heads' in trainer.compat else k for k in bias}
        drawn = {k: target[len(BIAS[seen[k]])] for k in bias}
        strength = min(1.0, i / case.steps) if case.fields.get('ramp') else 1.0
        images = tensors['image'].permute(0, 3, 1, 2)
        trainer.step(images, tensors['label'].long(), bias, strength=strength, targets=drawn)
    return trainer


def traces(opt: Any) -> dict[str, torch.Tensor]:
    """Momentum of one optimizer, by PyTorch's parameter names; {} without momentum."""
    found = {}
    for group, parts in opt.items():
        for part in jax.tree.leaves(parts, is_leaf=lambda node: hasattr(node, 'trace')):
            found[group] = part.trace
    return convert.to_torch(found)


def distance(have: Mapping[str, torch.Tensor], want: Mapping[str, torch.Tensor]) -> float:
    """Largest difference of any array, relative to the largest absolute value of that array."""
    assert set(have) == set(want)
    return max(
        float((have[k] - want[k]).abs().max() / want[k].abs().max().clamp(min=1e-30)) for k in want
    )


def compare(name: str, seed: int, compat=None) -> dict[str, float]:
    """Distances of all parameters and statistics, of their change, and of all momentum."""
    trainer = run_torch(name, seed, compat)
    start, final, _ = run_skinjax(name, seed)
    before, want = (convert.to_torch(s.params, s.model['batch_stats']) for s in (start, final))
    have = {k: v for k, v in trainer.model.state_dict().items() if k in want}
    assert all(bool((want[k] != before[k]).any()) for k in want), 'something was never trained'
    moved, expected = ({k: x[k] - before[k] for k in want} for x in (have, want))
    optimizers = {'main': trainer.main_optimizer, 'confusion': trainer.second_optimizer}
    optimizers |= {f'bias_{k}': optimizer for k, optimizer in trainer.head_optimizers.items()}
    momenta = [
        distance(convert.momentum(trainer.model, optimizer), traces(final.opt[k]))
        for k, optimizer in optimizers.items()
        if optimizer is not None
    ]
    return {
        'values': distance(have, want),
        'change': distance(moved, expected),
        'momentum': max(momenta),
    }


@pytest.mark.parametrize('name', CASES)
def test_training_agrees(name):
    measured, agree = [], 0
    for seed in range(3):
        measured.append(compare(name, seed))
        agree += all(measured[-1][k] < limit for k, limit in CASES[name].tolerance.items())
        if agree == 2:
            return
    pytest.fail(f'{name}: {measured}')


@pytest.mark.parametrize(
    ('switch', 'name'),
    [
        ('random_target', 'clgr sdu'),
        ('double_step', 'clgr sdu'),
        ('help_head', 'tabe sdu'),
        ('phantom_step', 'clgr sdu'),
        ('double_stats', 'clgr sdu'),
        ('shared_heads', 'double sdu'),
    ],
)
def test_agreement_would_notice_a_missing_switch(switch, name):
    others = set(unlearning.SWITCHES) - {switch}
    assert compare(name, 0, others)['change'] > 20 * TOLERANCE['change']


def test_both_sides_know_the_same_switches():
    assert set(COMPAT) == set(unlearning.SWITCHES)


def test_bottlenecks_and_grouped_convolutions_agree():
    """Forward pass, in training and in evaluation, of what no training case contains."""
    here = skin_resnet.ResNet(skin_resnet.Variant((1, 2), 16, cardinality=4, group_width=16))
    there = resnet.ResNet(
        resnet.Architecture((1, 2), bottleneck=True, groups=4, width_per_group=16, base=16)
    )
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    shapes = jax.eval_shape(
        functools.partial(here.init, train=True), jax.random.key(0), jnp.asarray(images)
    )
    variables = random_weights(shapes, 0)
    tree = ({'encoder': variables[part]} for part in ('params', 'batch_stats'))
    weights = {k.removeprefix('encoder.'): v for k, v in convert.to_torch(*tree).items()}
    there.load_state_dict(weights)
    theirs = torch.from_numpy(images).permute(0, 3, 1, 2)
    train = jax.jit(functools.partial(here.apply, train=True, mutable=['batch_stats']))
    (features, _), stats = train(variables, images)  # type: ignore[misc]
    np.testing.assert_allclose(features, there.train()(theirs).detach().numpy(), atol=1e-5)
    evaluate = jax.jit(functools.partial(here.apply, train=False))
    features, _ = evaluate({**variables, **stats}, images)
    np.testing.assert_allclose(features, there.eval()(theirs).detach().numpy(), atol=1e-5)


def test_conversion_there_and_back():
    start = run_skinjax('options', 0)[0]
    variables = {'params': start.params, **start.model}
    state = convert.to_torch(start.params, start.model['batch_stats'])
    back = convert.to_flax(state, like=variables)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    state['encoder.conv1.weight'].zero_()
    assert np.abs(start.params['encoder']['stem_conv']['conv']['kernel']).max() > 0
    with pytest.raises(ValueError, match=r"no place for \['fc.weight'\]"):
        convert.to_flax(state | {'fc.weight': torch.zeros(1)}, like=variables)
    with pytest.raises(ValueError, match=r"has no 'head.bias' \(for head/bias\)"):
        convert.to_flax({k: v for k, v in state.items() if k != 'head.bias'}, like=variables)
    with pytest.raises(ValueError, match=r"'head.bias': shape \(2,\), .* \(1,\)"):
        convert.to_flax(state | {'head.bias': torch.zeros(2)}, like=variables)


def test_the_trainer_refuses_what_it_cannot_do():
    model = resnet.Classifier(resnet.resnet('narrow'), 1, {'ruler': resnet.BiasHead(64, 2)})
    with pytest.raises(ValueError, match=r"unknown compat \['sud'\]"):
        Trainer(model, {'ruler': Method()}, compat=('sud',))
    with pytest.raises(ValueError, match=r"no bias head for \['camera'\]"):
        Trainer(model, {'camera': Method()})
    with pytest.raises(ValueError, match='clip=0'):
        Trainer(model, {'ruler': Method()}, compat=('sdu',), clip=1.0)
    with pytest.raises(ValueError, match=r'shape \(1, 3\), its head gives \(1, 2\)'):
        Trainer(model, {'ruler': Method(weights=torch.ones(1, 3))})
    with pytest.raises(ValueError, match="unknown encoder 'resnet19'"):
        resnet.resnet('resnet19')
