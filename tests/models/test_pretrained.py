"""Weights of torchvision, timm and TensorFlow, of earlier runs, and what is refused."""

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from skinjax import config as configs
from skinjax import convert, kinds
from skinjax.models import naming, pretrained
from skinjax.models.classifier import Classifier
from skinjax.models.tensor_files import Tensor, open_tensors
from tests.helpers import ISIC2017
from tests.models import small

torch = pytest.importorskip('torch')
WEIGHTS = ISIC2017.parents[1] / 'weights' / 'mobilenet_v2_1.0_224_dequantised_f32.npz'

NETWORKS = tuple(itertools.chain(*small.TORCHVISION.values()))
NOTHING = Tensor((), lambda: np.zeros(()))


def model_config(network: str = 'narrow', **fields: Any) -> Any:
    """The model section for a network."""
    return configs.override(kinds.convert(network).model, fields)


def their_model(network: str, classes: int = 1000):
    """torchvision's network with random weights."""
    from tests.models.torchvision_models import models

    more = {'aux_logits': False, 'init_weights': False} if network == 'inception_v3' else {}
    return getattr(models, network)(num_classes=classes, **more)


def equal(have: dict[str, Any], want: dict[str, Any]) -> None:
    """Nested or flat dicts of arrays, to the bit."""
    have, want = flatten_dict(have), flatten_dict(want)
    assert set(have) == set(want)
    for name, value in want.items():
        assert have[name].dtype == value.dtype and np.array_equal(have[name], value), name


def arrays_of(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """A state_dict as arrays, without counters."""
    return {k: v.numpy() for k, v in state.items() if not k.endswith('num_batches_tracked')}


@pytest.fixture(scope='module')
def narrow() -> dict[str, np.ndarray]:
    """A state_dict of the small residual network of third_party with a head of three classes."""
    from third_party.torch_baselines.resnet import resnet

    model = resnet('narrow')
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.rand(value.shape, generator=generator) + 0.5
        for name, value in model.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    state |= {'fc.weight': torch.rand(3, 64, generator=generator), 'fc.bias': torch.zeros(3)}
    return arrays_of(state)


def load_narrow(path: Path, outputs: int = 3, **fields: Any) -> pretrained.Loaded:
    config = model_config(**fields)
    return pretrained.load(path, convert.abstract(config, 32, outputs), config)


def written(path: Path, arrays: dict[str, np.ndarray], **changes: Any) -> Path:
    """A safetensors file of arrays, some changed, or left out where None."""
    arrays = {**arrays, **{k.replace('__', '.'): v for k, v in changes.items()}}
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items() if v is not None}, path)
    return path


class TestNames:
    @pytest.mark.parametrize('network', NETWORKS)
    def test_are_those_of_timm(self, network):
        """Those of torchvision are held by test_torch_parity.py."""
        pytest.importorskip('tests.models.torchvision_models')
        timm = pytest.importorskip('timm', reason='timm is not installed')
        name = 'mobilenetv2_100' if network == 'mobilenet_v2' else network
        with torch.device('meta'):
            theirs = timm.create_model(name, **({'aux_logits': False} if 'inc' in name else {}))
        config = model_config(network)
        family = configs.find('models', config.name)
        slots = naming.name_slots(convert.abstract(config, 96, 1000), family, 'timm')
        have = {slot.name: slot.foreign_shape for slot in slots}
        assert have == {k: tuple(v.shape) for k, v in theirs.state_dict().items() if v.ndim}

    @pytest.mark.parametrize('network', ['mobilenet_v2', 'efficientnet_b0', 'vgg16_bn'])
    def test_the_naming_is_recognised(self, network):
        config = model_config(network)
        shapes, family = convert.abstract(config), configs.find('models', config.name)
        for source in ('torchvision', 'timm', 'skinjax'):
            names = [slot.name for slot in naming.name_slots(shapes, family, source)]
            tensors = dict.fromkeys(names, NOTHING)
            assert pretrained.recognise(Path('x'), tensors, shapes, config)[0] == source

    def test_a_table_with_a_gap_or_twins_is_refused(self, monkeypatch):
        family, shapes = configs.find('models', 'resnet'), convert.abstract(model_config())
        for rows, text in (((), "no name for 'encoder/"), (((r'.*', 'x'),), 'twice')):
            monkeypatch.setitem(family.NAMES, 'torchvision', rows)
            with pytest.raises(ValueError, match=text):
                naming.name_slots(shapes, family, 'torchvision')


class TestLayouts:
    def test_dense_layers_after_a_flattened_map(self):
        """Our product over (h, w, c) is torch's over (c, h, w), and that of a convolution."""
        rng = np.random.default_rng(0)
        image = rng.normal(size=(2, 3, 4)).astype(np.float32)  # h, w, c
        kernel = rng.normal(size=(24, 5)).astype(np.float32)
        path = ('params', 'encoder', 'fc', 'kernel')
        want = image.reshape(-1) @ kernel
        slot = naming.Slot(path, (24, 5), 'fc.weight', flattened=(2, 3, 4))
        theirs = slot.give(kernel)
        assert theirs.shape == slot.foreign_shape == (5, 24)
        np.testing.assert_allclose(theirs @ image.transpose(2, 0, 1).reshape(-1), want, rtol=1e-5)
        assert np.array_equal(slot.take(theirs), kernel)
        slot = naming.Slot(path, (24, 5), 'fc.weight', window=(2, 3), flattened=(2, 3, 4))
        theirs = slot.give(kernel)
        assert theirs.shape == slot.foreign_shape == (5, 4, 2, 3)
        found = (theirs * image.transpose(2, 0, 1)).sum((1, 2, 3))
        np.testing.assert_allclose(found, want, rtol=1e-5)
        assert np.array_equal(slot.take(theirs), kernel)

    @pytest.mark.parametrize(
        ('network', 'source'),
        [
            (n, s)
            for n in ('narrow', 'mobilenet_v2', 'efficientnet_b0')
            for s in ('torchvision', 'timm')
        ],
    )
    def test_there_and_back_is_exact(self, network, source, tmp_path):
        config = model_config(network)
        shapes = convert.abstract(config, 64, 7)
        rng = np.random.default_rng(0)
        variables = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
        path = written(tmp_path / 'w.safetensors', pretrained.give(variables, config, source))
        equal(pretrained.load(path, shapes, config).variables, variables)

    @pytest.mark.parametrize('network', ['densenet121', 'inception_v3', 'mobilenet_v2'])
    def test_a_state_dict_comes_back_to_the_bit(self, network, tmp_path):
        theirs = arrays_of(their_model(network, 5).state_dict())
        old = theirs
        if network == 'densenet121':  # as the published files have them
            parts = ('norm1', 'conv1', 'norm2', 'conv2')
            dots = {f'.{p}.': f'.{p[:-1]}.{p[-1]}.' for p in parts}
            old = {
                next(
                    (k.replace(a, b) for a, b in dots.items() if 'denselayer' in k and a in k), k
                ): v
                for k, v in theirs.items()
            }
            assert 'features.denseblock1.denselayer1.norm.1.weight' in old
        config = model_config(network)
        path = written(tmp_path / 'w.safetensors', old)
        loaded = pretrained.load(path, convert.abstract(config, 96, 5), config)
        equal(pretrained.give(loaded.variables, config, 'torchvision'), theirs)
        back = {k: torch.from_numpy(v) for k, v in theirs.items()}
        their_model(network, 5).load_state_dict(back)  # counters may be missing

    def test_predictions_are_those_of_torch(self, narrow, tmp_path):
        from third_party.torch_baselines import resnet

        theirs = resnet.Classifier(resnet.resnet('narrow'), 3)
        state = {f'encoder.{k}': v for k, v in narrow.items() if not k.startswith('fc')}
        state |= {f'head.{k[3:]}': v for k, v in narrow.items() if k.startswith('fc')}
        tensors = {k: torch.from_numpy(v) for k, v in state.items()}
        theirs.load_state_dict(tensors)
        images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
        with torch.no_grad():
            want = theirs.eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
        config = model_config()
        ours = Classifier(configs.find('models', 'resnet').build(config), 3)
        pixels = (images / np.float32(255) - resnet.IMAGENET_MEAN) / resnet.IMAGENET_STD
        loaded = load_narrow(written(tmp_path / 'w.safetensors', narrow))
        have: Any = ours.apply(loaded.variables, jnp.asarray(pixels, jnp.float32), False)
        np.testing.assert_allclose(have['logits'], want, atol=2e-5 * np.abs(want).max())


class TestFiles:
    @pytest.mark.parametrize(
        'form', ['pth', 'pt', 'legacy', 'wrapped', 'model', 'parallel', 'compiled']
    )
    def test_forms_of_pytorch_files(self, form, narrow, tmp_path):
        state: Any = {k: torch.from_numpy(v) for k, v in narrow.items()}
        state['bn1.num_batches_tracked'] = torch.tensor(3)
        if form == 'parallel':
            state = {'state_dict': {f'module.{k}': v for k, v in state.items()}, 'epoch': 3}
        elif form == 'compiled':
            state = {'state_dict_ema': {f'_orig_mod.module.{k}': v for k, v in state.items()}}
        elif form in ('wrapped', 'model'):
            state = {'state_dict' if form == 'wrapped' else 'model': state}
        path = tmp_path / f'weights.{"pt" if form == "pt" else "pth"}'
        torch.save(state, path, _use_new_zipfile_serialization=form != 'legacy')
        equal(pretrained.give(load_narrow(path).variables, model_config(), ''), narrow)

    def test_arrays_are_contiguous_copies(self, narrow, tmp_path):
        path = tmp_path / 'w.pth'
        torch.save({k: torch.from_numpy(v) for k, v in narrow.items()}, path)
        values: dict[Any, Any] = flatten_dict(load_narrow(path).variables)
        for value in values.values():
            assert value.flags.c_contiguous and value.flags.writeable and value.base is None

    @pytest.mark.parametrize('dtype', [np.float16, np.float64, ml_dtypes.bfloat16])
    def test_other_precisions_become_float32(self, dtype, narrow, tmp_path):
        state = {k: v.astype(dtype) for k, v in narrow.items()}
        want = {k: v.astype(np.float32) for k, v in state.items()}
        path = tmp_path / 'w.pth'
        kinds = {np.float16: torch.float16, np.float64: torch.float64}
        half = kinds.get(dtype, torch.bfloat16)
        torch.save({k: torch.from_numpy(v).to(half) for k, v in want.items()}, path)
        for file in (written(tmp_path / 'w.safetensors', state), path):
            found = load_narrow(file).variables
            equal(pretrained.give(found, model_config(), ''), want)

    def test_without_torch(self, narrow, tmp_path, monkeypatch):
        path = tmp_path / 'w.pth'
        torch.save({k: torch.from_numpy(v) for k, v in narrow.items()}, path)
        monkeypatch.setitem(__import__('sys').modules, 'torch', None)
        with pytest.raises(ImportError, match=r"pip install 'skinjax\[torch\]'"):
            load_narrow(path)

    def test_an_auxiliary_head_is_ignored_with_a_note(self, narrow, tmp_path):
        more = {'AuxLogits.fc.bias': np.zeros(3, np.float32)}
        path = written(tmp_path / 'w.safetensors', narrow | more)
        assert load_narrow(path).notes == (f'{path}: 1 arrays of the auxiliary head stay behind',)


FLAW = np.full((64,), np.nan, np.float32)


class TestRefused:
    @pytest.mark.parametrize(
        ('changes', 'text'),
        [
            ({'bn1__weight': None}, r'missing: bn1\.weight; '),
            ({'more': np.zeros(2, np.float32)}, 'left over: more; '),
            ({'bn1__bias': np.zeros(8, np.float32)}, r'bn1\.bias is \(8,\), expected \(16,\)'),
            (
                {'fc__bias': np.zeros(8, np.float32)},
                r'8 outputs, this model has 3: .*leave_out=head',
            ),
            ({'layer3__0__bn1__bias': FLAW}, r'layer3\.0\.bn1\.bias has 64 values that are NaN'),
            ({'bn1__bias': np.zeros(16, np.int32)}, r'bn1\.bias holds int32'),
            (
                {f'more{i:02}\n': np.zeros(2, np.float32) for i in range(23)},
                r'left over: more00\\n, .*, more19\\n and 3 more',
            ),
        ],
    )
    def test_by_name(self, changes, text, narrow, tmp_path):
        path = written(tmp_path / 'w.safetensors', narrow, **changes)
        with pytest.raises(ValueError, match=text) as caught:
            load_narrow(path)
        assert str(path) in str(caught.value) and '\n' not in str(caught.value)

    def test_values_too_large_for_float32(self, narrow, tmp_path):
        large = np.full(16, 1e300)
        with pytest.raises(ValueError, match=r'bn1\.bias has 16 values that are NaN or infinite'):
            load_narrow(written(tmp_path / 'w.safetensors', narrow, bn1__bias=large))

    def test_another_architecture(self, narrow, tmp_path):
        path = written(tmp_path / 'w.safetensors', narrow)
        config = model_config('mobilenet_v2')
        with pytest.raises(ValueError, match=r"than mobilenet 'mobilenet_v2': only \d+ of 262 .*;"):
            pretrained.load(path, convert.abstract(config, 64, 3), config)
        config = model_config('resnet18')
        with pytest.raises(ValueError, match=r"'resnet18': only 47 of 102 .* and 35 more"):
            pretrained.load(path, convert.abstract(config, 64, 3), config)

    def test_tensorflow_padding_must_be_chosen(self):
        config = model_config('mobilenet_v2')
        shapes = convert.abstract(config, 64)
        slots = naming.name_slots(shapes, configs.find('models', 'mobilenet'), 'tensorflow')
        tensors = {slot.name: NOTHING for slot in slots}
        with pytest.raises(ValueError, match=r"padding = 'tf', found 'torch'"):
            pretrained.recognise(Path('x.npz'), tensors, shapes, config)

    @pytest.mark.parametrize('source', ['torchvision', 'timm'])
    def test_pytorchs_padding_too(self, source):
        config = model_config('mobilenet_v2', padding='tf')
        shapes = convert.abstract(config, 64)
        slots = naming.name_slots(shapes, configs.find('models', 'mobilenet'), source)
        tensors = {slot.name: NOTHING for slot in slots}
        with pytest.raises(ValueError, match=rf"{source} names.*padding = 'torch', found 'tf'"):
            pretrained.recognise(Path('x.pth'), tensors, shapes, config)

    @pytest.mark.parametrize('dtype', ['int32', 'complex64', 'bool'])
    def test_tensors_that_hold_no_real_numbers(self, dtype, narrow, tmp_path):
        path = tmp_path / 'w.pth'
        state = {k: torch.from_numpy(v) for k, v in narrow.items()}
        torch.save({**state, 'bn1.bias': torch.ones(16, dtype=getattr(torch, dtype))}, path)
        with pytest.raises(ValueError, match=rf"w\.pth, tensor 'bn1\.bias' .*holds torch\.{dtype}"):
            load_narrow(path)

    def test_arrays_of_records(self, narrow, tmp_path):
        state: Any = {**narrow, 'bn1.bias': np.zeros(16, [('a', np.float32)])}
        np.savez(tmp_path / 'w.npz', **state)
        with pytest.raises(ValueError, match=r"w\.npz: bn1\.bias holds \[\('a', '<f4'\)\], exp"):
            load_narrow(tmp_path / 'w.npz')

    def test_a_torch_whose_loader_is_unsafe(self, narrow, tmp_path, monkeypatch):
        path = tmp_path / 'w.pth'
        torch.save({k: torch.from_numpy(v) for k, v in narrow.items()}, path)
        monkeypatch.setattr(torch, '__version__', '2.9.1+cpu')
        with pytest.raises(ImportError, match=r"w\.pth is not read .*pip install 'torch>=2\.10'"):
            load_narrow(path)

    def test_no_arrays_of_pickles_in_npz(self, tmp_path):
        np.savez(tmp_path / 'w.npz', Conv=np.array([{}], object))
        config = model_config('mobilenet_v2', padding='tf')
        with pytest.raises(ValueError, match='only 0 of 262 arrays are there'):
            pretrained.load(tmp_path / 'w.npz', convert.abstract(config, 64), config)
        with (
            open_tensors(tmp_path / 'w.npz') as tensors,
            pytest.raises(ValueError, match='Object arrays cannot be loaded'),
        ):
            tensors['Conv'].read()


class TestLeaveOut:
    @pytest.mark.parametrize('there', [True, False])
    def test_a_group_is_neither_needed_nor_read(self, there, narrow, tmp_path):
        changes = {} if there else {'fc__weight': None, 'fc__bias': None}
        path = written(tmp_path / 'w.safetensors', narrow, **changes)
        found = load_narrow(path, outputs=9, leave_out=('head',)).variables
        assert set(found['params']) == {'encoder'}

    def test_a_module(self, narrow, tmp_path):
        path = written(tmp_path / 'w.safetensors', narrow, bn1__weight=None)
        found = load_narrow(path, leave_out=('encoder/stem_norm',)).variables
        assert 'stem_norm' not in found['params']['encoder']
        assert 'stem_norm' not in found['batch_stats']['encoder']

    def test_a_typo(self, narrow, tmp_path):
        path = written(tmp_path / 'w.safetensors', narrow)
        with pytest.raises(ValueError, match=r"leave_out names 'haed'.*encoder, head"):
            load_narrow(path, leave_out=('haed',))


@jax.jit
def folded_network(arrays: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """Logits of the folded MobileNetV2, one operation after the other as the file has them."""

    def convolve(x, name, stride=1, groups=1, clip=True):
        kernel = arrays[f'{name}/kernel']
        y = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), 'SAME', feature_group_count=groups,
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'), precision='highest',
        )  # fmt: skip
        y = y + arrays[f'{name}/bias'][None, None, None]
        return jnp.clip(y, 0, 6) if clip else y

    x = convolve((images.astype(jnp.float32) - 128) / 128, 'Conv', 2)
    for i in range(17):
        name = f'expanded_conv_{i}' if i else 'expanded_conv'
        y = convolve(x, f'{name}/expand') if i else x
        stride = 2 if i in (1, 3, 6, 13) else 1
        y = convolve(y, f'{name}/depthwise', stride, y.shape[-1])
        y = convolve(y, f'{name}/project', clip=False)
        x = x + y if x.shape == y.shape else y
    x = convolve(x, 'Conv_1').mean((1, 2), keepdims=True)
    return convolve(x, 'Logits/Conv2d_1c_1x1', clip=False)[:, 0, 0]


@pytest.mark.skipif(not WEIGHTS.exists(), reason='needs shared/weights')
def test_mobilenet_of_tensorflow():
    from skinjax.data.augment_device import normalize
    from skinjax.data.images import decode

    config = model_config('mobilenet_v2', padding='tf')
    loaded = pretrained.load(WEIGHTS, convert.abstract(config, 224, 1001), config)
    assert loaded.naming == 'tensorflow'
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 224, 224, 3)).astype(np.uint8)
    if ISIC2017.is_dir():
        files = sorted((ISIC2017 / 'images').iterdir())[:3]
        images = np.stack([decode(path, 224) for path in files])
    network = Classifier(configs.find('models', config.name).build(config), 1001)
    pixels = normalize(jnp.asarray(images), (128 / 255,) * 3, (128 / 255,) * 3)
    with jax.default_matmul_precision('highest'):
        have: Any = jax.jit(network.apply, static_argnums=2)(loaded.variables, pixels, False)
    with np.load(WEIGHTS, allow_pickle=False) as arrays:
        want = np.asarray(folded_network({k: arrays[k] for k in arrays}, images))
    assert np.abs(have['logits'] - want).max() <= 2e-5 * np.abs(want).max()
    assert np.ptp(want, 0).max() > 1  # the images are told apart
