"""Five training steps from the same weights on the same batches, in skinjax and in PyTorch."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest
import torch

from skinjax import config as configs
from skinjax.data.records import DataSet, Records
from skinjax.engine import state
from skinjax.engine.step import example_keys, make_step
from skinjax.objectives import unlearning
from third_party.torch_baselines import convert, resnet
from third_party.torch_baselines.unlearning import Method, Trainer, inverse_count_weights

BIAS = {'ruler': ('absent', 'present'), 'camera': ('a', 'b', 'c')}
STEPS = 5


@dataclasses.dataclass(frozen=True)
class Case:
    """An objective, and the fields of the config that differ from the defaults."""

    objective: str
    fields: dict[str, Any]
    variant: str = 'narrow'
    size: int = 32
    batch: int = 12
    steps: int = STEPS
    clip: float = 0.0


def paper(name: str, rate: float = 0.03) -> dict[str, Any]:
    """The published head: no cap, no standardisation, momentum; one head update per batch."""
    fields = configs.find('objectives', name).PAPER
    return {**fields, 'learning_rate': rate}


def published(name, rate=0.03):
    return {**paper(name, rate), 'bias': 'camera', 'compat': ('sdu',), 'head_steps': 1}


HEAD = {'bias': 'camera', 'momentum': 0.9}
CASES = {
    'baseline': Case('baseline', {}),
    'lntl': Case('lntl', HEAD),
    'tabe': Case('tabe', HEAD),
    'clgr': Case('clgr', HEAD),
    'double': Case('double', {'first': {'bias': 'camera', 'method': 'lntl'}, 'second': {'bias': 'ruler', 'method': 'clgr'}}),
    'lntl-sdu': Case('lntl', published('lntl')),
    'tabe-sdu': Case('tabe', published('tabe')),
    'clgr-sdu': Case('clgr', published('clgr')),
    'double-sdu': Case('double', {
        'first': {**paper('lntl', 0.02), 'bias': 'camera', 'method': 'lntl', 'confusion': -1.0},
        'second': {**paper('clgr'), 'bias': 'ruler', 'method': 'clgr'},
        'head_steps': 1, 'compat': ('sdu',)}),
    'options': Case('clgr', {
        **HEAD, 'conditional': True, 'hidden': 16, 'clip': 0.1, 'ramp': 1.0, 'head_steps': 3}, clip=0.5),
    'resnet18': Case('clgr', HEAD, 'resnet18', 64, 8, 3),
}


def dataset() -> DataSet:
    rng = np.random.default_rng(0)
    n = 60
    records = Records(
        np.arange(n).astype(str),
        rng.integers(0, 2, n).astype(np.int32),
        {'ruler': rng.integers(-1, 2, n).astype(np.int32), 'camera': rng.choice(3, n, p=(.6, .3, .1)).astype(np.int32)},
        np.arange(n).astype(str),
        lambda row: {},
    )
    return DataSet('made', ('benign', 'malignant'), BIAS, {'train': records})


def batches(case: Case) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    b = case.batch
    out = []
    for _ in range(case.steps):
        coarse = rng.integers(0, 256, (b, 8, 8, 3))
        image = np.clip(np.kron(coarse, np.ones((1, case.size // 8, case.size // 8, 1))) + rng.normal(0, 20, (b, case.size, case.size, 3)), 0, 255)
        out.append({
            'image': image.astype(np.uint8),
            'label': (np.arange(b) % 2).astype(np.int32),
            'ruler': rng.permutation(np.arange(b) % 3 - 1).astype(np.int32),
            'camera': rng.permutation(np.arange(b) % 4 - 1).astype(np.int32),
            'valid': np.ones(b, bool),
        })
    return out


def make_config(case):
    objective = configs.plugin('objectives', case.objective)
    for name, value in case.fields.items():
        objective[name] = {**objective[name], **value} if isinstance(value, dict) else value
    config = configs.train(objective=objective, model=configs.plugin('models', 'resnet', variant=case.variant))
    config.model.dropout = 0.0
    config.optimizer.update(learning_rate=0.01, momentum=0.9, clip=case.clip)
    return config


@functools.cache
def run_jax(name):
    case = CASES[name]
    config = make_config(case)
    objective = configs.find('objectives', case.objective).build(config, dataset(), case.steps)
    key = jax.random.key(3)
    feed = batches(case)
    init = jax.jit(lambda k: state.create(objective, k, feed[0], ema=False))(key)
    init = init.replace(params=roughen(init.params))
    step = jax.jit(make_step(objective))
    now, targets = init, []
    import time
    t=time.time()
    for batch in feed:
        targets.append(jax.device_get(draws(key, now.step, batch)))
        now, metrics = step(now, batch, key)
    print(name, 'jax', time.time()-t)
    return init, now, targets, config


def draws(key, step, batch):
    """The confusion targets that phase main draws, for every K."""
    keys = example_keys(jax.random.fold_in(key, step), 1, batch, None)
    return {k: jax.vmap(lambda key: jax.random.uniform(key, (k,)))(keys) for k in (2, 3)}


def roughen(params):
    """Random scales and offsets: a fresh block is the identity, which would hide its inside."""
    rng = np.random.default_rng(2)
    def change(path, leaf):
        name = path[-1].key
        if name == 'scale':
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        if name == 'bias':
            return rng.normal(0, 0.1, leaf.shape).astype(np.float32)
        return leaf
    return jax.tree_util.tree_map_with_path(change, params)


def heads_of(case, config):
    if case.objective == 'baseline':
        return {}
    if case.objective == 'double':
        heads = {}
        for which in ('first', 'second'):
            spec = dict(config.objective[which])
            defaults = configs.find('objectives', spec['method']).DEFAULTS
            for name in ('entropy', 'confusion', 'reversal'):
                if spec[name] == -1:
                    spec[name] = defaults[name]
            heads[spec['bias']] = spec
        return heads
    return {config.objective.bias: dict(config.objective)}


def run_torch(name, init, targets, config, compat=None):
    case = CASES[name]
    heads = heads_of(case, config)
    train = dataset().splits['train']
    methods, modules = {}, {}
    encoder = resnet.resnet(case.variant)
    for bias, spec in heads.items():
        classes, values = (2 if spec['conditional'] else 1), len(BIAS[bias])
        counts = torch.zeros(classes, values)
        for label, value in zip(train.labels, train.bias[bias]):
            if value >= 0:
                counts[label if classes > 1 else 0, value] += 1
        modules[bias] = resnet.BiasHead(encoder.num_features, values, classes, spec['hidden'], spec['standardize'])
        methods[bias] = Method(spec['entropy'], spec['confusion'], spec['reversal'], spec['cap'], inverse_count_weights(counts), spec['learning_rate'], spec['momentum'], spec['clip'])
    model = resnet.Classifier(encoder, 1, modules, dropout=0.0).to(memory_format=torch.channels_last)
    model.load_state_dict(convert.to_torch(init.params, init.model['batch_stats']))
    o = config.objective
    trainer = Trainer(model, methods, lr=0.01, clip=case.clip, head_steps=o.get('head_steps', 1), compat=o.get('compat', ()) if compat is None else compat)
    model.train()
    import time
    t=time.time()
    for i, (batch, target) in enumerate(zip(batches(case), targets, strict=True)):
        tensors = {k: torch.from_numpy(v) for k, v in batch.items()}
        strength = min(1.0, i / (case.steps * o.ramp)) if o.get('ramp') else 1.0
        first = next(iter(methods), None)
        trainer.step(
            tensors['image'].permute(0, 3, 1, 2), tensors['label'].long(),
            {k: tensors[k].long() for k in methods},
            strength=strength,
            targets={k: torch.from_numpy(np.array(target[len(BIAS[first])])) for k in methods},
        )
    print(name, 'torch', time.time()-t)
    return trainer


def trace(tree):
    for part in jax.tree.leaves(tree, is_leaf=lambda x: hasattr(x, 'trace')):
        if hasattr(part, 'trace'):
            return part.trace
    return None


def difference(a, b):
    assert set(a) == set(b), set(a) ^ set(b)
    worst = (0, '')
    for k in a:
        d = (a[k] - b[k]).abs().max() / b[k].abs().max().clamp(min=1e-30)
        worst = max(worst, (float(d), k))
    return worst


def measure(name, **kw):
    init, final, targets, config = run_jax(name)
    trainer = run_torch(name, init, targets, config, **kw)
    want = convert.to_torch(final.params, final.model['batch_stats'])
    have = {k: v for k, v in trainer.model.state_dict().items() if not k.endswith('tracked')}
    start = convert.to_torch(init.params, init.model['batch_stats'])
    out = {'all': difference(have, want)}
    moved = {k for k in want if not torch.equal(want[k], start[k])}
    assert moved >= {k for k in have}, set(have) - moved
    out['delta'] = difference({k: have[k] - start[k] for k in moved}, {k: want[k] - start[k] for k in moved})
    opts = {'main': trainer.main_optimizer, 'confusion': trainer.second_optimizer, **{f'bias_{k}': v for k, v in trainer.head_optimizers.items()}}
    opts = {k: v for k, v in opts.items() if v is not None}
    names = {}
    for k, o in final.opt.items():
        o = {g: trace(t) for g, t in o.items() if trace(t) is not None}
        names[k if k in ('main', 'confusion') else k] = convert.to_torch(o)
    assert set(names) == set(opts), (set(names), set(opts))
    for k in names:
        out['momentum ' + k] = difference(convert.momentum(trainer.model, opts[k]), names[k]) if names[k] else None
    return out


if __name__ == '__main__':
    import sys, time
    for name in sys.argv[1:] or CASES:
        t = time.time()
        for k, v in measure(name).items():
            print(name, k, v)
        print(time.time() - t)
