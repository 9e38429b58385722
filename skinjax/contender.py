"""skinjax as one of the programs that kind 'benchmark' times; it answers as `timing.serve` says.

    python -m skinjax.contender --case=resnet50 --batch=16 --size=128

The step is that of kind 'train': `engine.step.make_step` compiled by `engine.mesh`, on random
images that are on the device before the clock starts. Needs jax, flax, optax and jaxtyping alone;
mode 'fed' (the same step at the end of the input pipeline) needs all that training needs.
"""

import argparse
import dataclasses
import importlib.metadata
import itertools
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax import config as configs
from skinjax import timing
from skinjax.data.records import COMMON, DataSet, Records
from skinjax.engine import optimizers, state
from skinjax.engine.mesh import Mesh
from skinjax.engine.step import make_step
from skinjax.models import options

PUBLISHED = {
    'cap': 0.0, 'standardize': False, 'momentum': 0.9, 'learning_rate': 3e-3, 'head_steps': 1,
    'confusion': 0.03, 'reversal': 0.1,
}  # fmt: skip
ADAM = {'name': 'adam', 'learning_rate': 1e-4}
GAN_ADAM = {**ADAM, 'learning_rate': 2e-4, 'momentum': 0.5}
ALTERNATING = {'extra_generator': {'every': 1, 'n': 0, 'unit': 'step'}}  # one step of each network
HALF = (0.5, 0.5, 0.5)
STEPS_OF_DATA = 4  # batches that mode 'fed' goes through again and again


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained: an objective, a model, and the fields that differ from the defaults."""

    objective: str
    model: str
    model_fields: Mapping[str, Any]
    objective_fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def sections(self, dtype: str) -> dict[str, dict[str, Any]]:
        """The sections of a config that say so."""
        model = configs.plugin('models', self.model, **self.model_fields)
        return {
            'objective': configs.plugin('objectives', self.objective, **self.objective_fields),
            'model': {**options.COMMON, **model, 'dtype': dtype},
        }


CASES = {
    'resnet50': Case('baseline', 'resnet', {'variant': 'resnet50'}),
    'resnext101': Case('baseline', 'resnet', {'variant': 'resnext101_32x8d'}),
    'efficientnet_b3': Case('baseline', 'efficientnet', {'variant': 'efficientnet_b3'}),
    'mobilenet_v2': Case('baseline', 'mobilenet', {}),
    'clgr': Case('clgr', 'resnet', {'variant': 'resnet50'}, PUBLISHED),
    'unet': Case('segmentation', 'dilated_unet', {}, optimizer=ADAM, data={'with_mask': True}),
    'dcgan': Case('gan', 'dcgan', {}, ALTERNATING, GAN_ADAM, {'mean': HALF, 'std': HALF}),
    'vgg16': Case('baseline', 'vgg', {'variant': 'vgg16', 'top': 'mean'}),
    'lesion_cnn': Case('baseline', 'lesion_cnn', {'top': 'mean'}),
}
# Cases that can restyle images (mode 'style'), and what they do then: the published loop, and that
# of Gatys et al. 2016 with losses that need no tuning.
CLIPPED = {'param': 'clip', 'schedule': 'constant', 'variation': 0.0, 'lesion_weight': 1.0}
STYLES = {'vgg16': {'style_weight': 1.0, **CLIPPED}, 'lesion_cnn': 'published'}


class Fields(dict):
    """A config for plug-ins: nested, its fields read as attributes."""

    def __init__(self, values: Mapping[str, Any]):
        super().__init__({k: Fields(v) if isinstance(v, Mapping) else v for k, v in values.items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclasses.dataclass(frozen=True)
class Job:
    """What the command line asks for."""

    case: str
    batch: int = 16  # global
    size: int = 128
    dtype: str = 'float32'
    devices: int = 0  # 0: all

    def prepare(self, mode: str) -> tuple[timing.Run, dict[str, Any]]:
        """The steps of a mode, compiled, and what XLA says about them."""
        modes = {'matmul': product, 'infer': infer, 'train': train, 'fed': fed, 'style': stylise}
        return modes[mode](self)

    @property
    def mesh(self) -> Mesh:
        mesh = Mesh.create('jit', self.devices)
        mesh.check(self.batch)
        return mesh

    def data(self) -> DataSet:
        """Rows without pictures: objectives take class counts from them."""
        rows = np.arange(self.batch).astype(str)
        codes = random_batch(self)
        train = Records(rows, codes['label'], {'ruler': codes['ruler']}, rows, lambda row: {})
        classes, ruler = ('nevus', 'melanoma'), ('absent', 'present')
        return DataSet('random', classes, {'ruler': ruler}, {'train': train})

    def objective(self):
        case = CASES[self.case]
        data = {**COMMON, 'image_size': self.size, 'batch_size': self.batch, 'bias': ('ruler',)}
        data |= case.data
        optimizer = {**optimizers.DEFAULTS, **case.optimizer}
        config = Fields({**case.sections(self.dtype), 'data': data, 'optimizer': optimizer})
        return configs.find('objectives', config.objective.name).build(config, self.data(), 1000)


def random_batch(job: Job) -> dict[str, np.ndarray]:
    """Noise with both classes and both values of the bias variable in it, perhaps with masks."""
    rng, rows = np.random.default_rng(0), np.arange(job.batch, dtype=np.int32)
    image = rng.integers(0, 256, (job.batch, job.size, job.size, 3), np.uint8)
    codes = {'label': rows % 2, 'ruler': rows // 2 % 2, 'index': rows}
    batch = {'image': image, 'valid': np.ones(job.batch, bool), **codes}
    if CASES[job.case].data.get('with_mask'):
        batch |= {'mask': image[..., 0] // 128 * 255, 'has_mask': batch['valid']}
    return batch


def inputs(job: Job, batch: dict[str, Any]) -> tuple[Any, ...]:
    """What predictions are made from: images, or latents and labels."""
    model = CASES[job.case].sections(job.dtype)['model']
    if 'latent' not in model:
        return (batch['image'],)
    return jax.random.normal(jax.random.key(0), (job.batch, model['latent'])), batch['label']


def compiled(function: Any, *arguments: Any) -> tuple[Any, dict[str, Any]]:
    """A jitted function made ready, and its time to compile, work and memory by XLA's account.

    The work is counted before optimisation, where every platform has the same program.
    """
    began = time.perf_counter()
    lowered = function.lower(*arguments)
    program = lowered.compile()
    told: dict[str, Any] = {'compile': time.perf_counter() - began}
    told['flop'] = float((lowered.cost_analysis() or {}).get('flops', 0.0))
    if plan := program.memory_analysis():
        told['planned'] = {
            'arguments': plan.argument_size_in_bytes,
            'temporary': plan.temp_size_in_bytes,
            'result': plan.output_size_in_bytes - plan.alias_size_in_bytes,
        }
    return program, told


def product(job: Job) -> tuple[timing.Run, dict[str, Any]]:
    """Products of two square matrices: the rate that the device really reaches."""
    n = 2048 if jax.default_backend() == 'cpu' else 8192
    # Twice the identity over two: neither grows nor vanishes.
    a = jnp.eye(n, dtype=job.dtype) + jnp.asarray(1e-3, job.dtype)
    multiply, told = compiled(jax.jit(lambda a, b: a @ b), a, a)

    def run(steps: int) -> None:
        for _ in range(steps):
            last = multiply(a, a)
        last.block_until_ready()

    return run, {**told, 'flop': 2.0 * n**3}


def fresh(job: Job, mesh: Mesh, objective: Any) -> state.TrainState:
    """The initial state of training, on the devices."""
    zeros = {name: jnp.zeros_like(value) for name, value in random_batch(job).items()}
    create = jax.jit(lambda key: state.create(objective, key, zeros, ema=False))
    return mesh.distribute(create(jax.random.key(0)))


def infer(job: Job) -> tuple[timing.Run, dict[str, Any]]:
    """Predictions in evaluation mode."""
    mesh, objective = job.mesh, job.objective()
    variables = fresh(job, mesh, objective).variables()
    seen = inputs(job, mesh.put_batch(random_batch(job)))
    predict, told = compiled(jax.jit(objective.predict), variables, *seen)

    def run(steps: int) -> None:
        for _ in range(steps):
            last = predict(variables, *seen)
        jax.block_until_ready(last)

    return run, told


def train(job: Job) -> tuple[timing.Run, dict[str, Any]]:
    """Training steps on one batch that stays on the device."""
    mesh, objective = job.mesh, job.objective()
    now, batch = fresh(job, mesh, objective), mesh.put_batch(random_batch(job))
    sizes = [x.size for x in jax.tree.leaves(now.params)]
    step, told = compiled(mesh.compile_step(make_step(objective), jax.random.key(1)), now, batch)

    def run(steps: int) -> None:
        nonlocal now
        for _ in range(steps):
            now, metrics = step(now, batch)
        jax.block_until_ready((now, metrics))

    return run, {**told, 'parameters': sum(sizes)}


def stylise(job: Job) -> tuple[timing.Run, dict[str, Any]]:
    """Steps of the optimisation of all images, in the style of the first (styling/transfer.py).

    Raises:
        ValueError: the case has no such loop.
    """
    from skinjax.styling import features as style_features
    from skinjax.styling import options as style_options
    from skinjax.styling import transfer as style_transfer

    if job.case not in STYLES:
        raise ValueError(f'no mode style of {job.case}: choose {" or ".join(STYLES)}')
    given = style_options.PUBLISHED if STYLES[job.case] == 'published' else STYLES[job.case]
    fields = {**style_options.DEFAULTS, **given}
    model = Fields(CASES[job.case].sections(job.dtype)['model'])
    network = style_features.network(
        model.name, configs.find('models', model.name).build(model), fields, COMMON
    )
    shape = (job.batch, job.size, job.size)
    images = jnp.asarray(random_batch(job)['image'] / np.float32(255), jnp.float32)
    variables = jax.jit(lambda key: network.module.init(key, images[:1], False))(jax.random.key(0))
    loop = style_transfer.Loop(network, style_options.Options.read(fields))
    style = jnp.broadcast_to(images[:1], images.shape)
    aims = loop.aim(variables, images, jnp.zeros(shape), style, jnp.zeros(shape))
    now = loop.begin(style if fields['init'] == 'style' else images)

    def run(steps: int) -> None:
        nonlocal now
        now, history = loop.advance(variables, aims, now, steps)
        jax.block_until_ready((now, history))

    return run, {}


def fed(job: Job) -> tuple[timing.Run, dict[str, Any]]:
    """As kind 'train' goes: pipeline, transfer, augmentation on the device, step."""
    from skinjax import train as kind

    n = STEPS_OF_DATA * job.batch
    source = configs.plugin('data', 'synthetic', n_train=n, n_val=8, n_test=8)
    sections = CASES[job.case].sections(job.dtype)
    config = configs.train(sections['objective'], source, sections['model'])
    config.optimizer.update(CASES[job.case].optimizer)
    config.data.update(image_size=job.size, batch_size=job.batch, bias=('ruler',))
    config.data.update(CASES[job.case].data)
    config.devices = job.devices
    trainer = kind.Trainer(config, kind.load_data(config), Mesh.create('jit', job.devices))
    now, batches = trainer.mesh.distribute(trainer.fresh()), trainer.batches(0)
    for _ in range(STEPS_OF_DATA):  # so that every picture has been drawn once and is kept
        next(batches)

    def run(steps: int) -> None:
        nonlocal now
        for batch in itertools.islice(batches, steps):
            now, metrics = trainer.step(now, trainer.mesh.put_batch(batch))
        jax.block_until_ready((now, metrics))

    return run, {}


def device_memory() -> int:
    """The most bytes in use on the first device so far."""
    return (jax.devices()[0].memory_stats() or {}).get('peak_bytes_in_use', 0)


def main() -> None:
    """Say what this program is, then answer commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--case', choices=CASES, required=True)
    for field in dataclasses.fields(Job)[1:]:
        parser.add_argument(f'--{field.name}', type=type(field.default), default=field.default)
    job = Job(**vars(parser.parse_args()))
    jax.config.update('jax_enable_compilation_cache', False)
    names = ('jax', 'jaxlib', 'flax', 'optax')
    facts = {
        'device': jax.devices()[0].device_kind,
        'platform': jax.default_backend(),
        'devices': job.devices or jax.device_count(),
        'versions': {name: importlib.metadata.version(name) for name in names},
    }
    on_cpu = jax.default_backend() == 'cpu'
    timing.serve(facts, job.prepare, None if on_cpu else device_memory)


if __name__ == '__main__':
    main()
