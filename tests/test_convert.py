"""Weights from files to checkpoints and back, and files that are flawed or hostile."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from safetensors.numpy import load_file, save_file

from skinjax import config as configs
from skinjax import convert, kinds, train
from skinjax.engine.writer import write_json
from skinjax.models import pretrained
from tests.helpers import call, flags, small_run

torch = pytest.importorskip('torch')
NAN = np.full(16, np.nan, np.float32)


def narrow_state(classes: int = 3) -> dict[str, np.ndarray]:
    """A state_dict of the small residual network of third_party."""
    from third_party.torch_baselines.resnet import resnet

    model = resnet('narrow')
    rng = np.random.default_rng(0)
    shapes = {k: v.shape for k, v in model.state_dict().items() if not k.endswith('tracked')}
    shapes |= {'fc.weight': (classes, 64), 'fc.bias': (classes,)}
    return {k: rng.uniform(0.5, 1.5, shape).astype(np.float32) for k, shape in shapes.items()}


def convert_to(target: Path, source: Path, network: str = 'narrow', **fields: Any):
    config = kinds.convert(network)
    values = {'source': str(source), 'target': str(target), **fields}
    return convert.run(configs.resolve(configs.override(config, values)), Path('unused'))


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob('*'))


@pytest.fixture(scope='module')
def state() -> dict[str, np.ndarray]:
    return narrow_state()


@pytest.fixture
def source(tmp_path, state) -> Path:
    save_file(state, tmp_path / 'source.safetensors')
    return tmp_path / 'source.safetensors'


class TestThereAndBack:
    def test_is_exact(self, source, state, tmp_path, capsys):
        result = convert_to(tmp_path / 'weights', source)
        assert (result['naming'], result['outputs'], result['arrays']) == ('torchvision', 3, 47)
        parameters = sum(v.size for k, v in state.items() if 'running' not in k)
        assert result['parameters'] == parameters
        assert f'{parameters:,} parameters, 3 outputs' in capsys.readouterr().out
        back = tmp_path / 'back.safetensors'
        # The checkpoint itself says which network it is.
        assert convert_to(back, tmp_path / 'weights', network='')['naming'] == 'skinjax'
        found = load_file(back)
        assert set(found) == set(state)
        assert all(found[k].tobytes() == v.tobytes() for k, v in state.items())
        (tmp_path / 'any').touch()
        assert back.stat().st_mode == (tmp_path / 'any').stat().st_mode

    def test_a_checkpoint_is_what_pretrained_takes(self, source, tmp_path):
        config = kinds.convert('narrow').model
        shapes = convert.abstract(config, 32, 3)
        convert_to(tmp_path / 'weights', source)
        have = pretrained.load(tmp_path / 'weights', shapes, config)
        step = pretrained.load(tmp_path / 'weights' / 'checkpoints' / '0', shapes, config)
        want = pretrained.load(source, shapes, config)
        for found in (have, step):
            arrays = pretrained.give(found.variables, config, '')
            for name, value in pretrained.give(want.variables, config, '').items():
                assert np.array_equal(arrays[name], value), name

    def test_without_a_head(self, source, tmp_path):
        fields: Any = {'model.leave_out': ('head',)}
        result = convert_to(tmp_path / 'weights', source, **fields)
        assert (result['outputs'], result['arrays']) == (0, 45)
        with pytest.raises(ValueError, match=r"has no head \('params/head/bias'\): .*leave_out"):
            convert_to(tmp_path / 'other', tmp_path / 'weights', network='')
        config = configs.override(kinds.convert('narrow').model, {'leave_out': ('head',)})
        found = pretrained.load(tmp_path / 'weights', convert.abstract(config, 32, 7), config)
        assert set(found.variables['params']) == {'encoder'}

    def test_a_network_that_computes_something_else_is_told(self, tmp_path):
        config = kinds.convert('lesion_cnn').model
        shapes = convert.abstract(config, 64, 2)
        rng = np.random.default_rng(0)
        variables = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
        path = tmp_path / 'weights.safetensors'
        save_file(pretrained.give(variables, config, 'torch_baselines'), path)
        convert_to(tmp_path / 'weights', path, network='lesion_cnn', image_size=64)
        config = configs.override(config, {'variant': 'avg'})
        loaded = pretrained.load(tmp_path / 'weights', shapes, config)
        assert loaded.notes == (
            f"{tmp_path / 'weights'} has model.variant = 'max', this model 'avg'",
        )
        jax.tree.map(np.testing.assert_array_equal, loaded.variables, variables)

    def test_what_the_config_of_given_weights_names_is_not_imported(
        self, source, tmp_path, monkeypatch
    ):
        convert_to(tmp_path / 'run', source)
        run = configs.train(model=configs.plugin('models', 'resnet', variant='narrow'))
        stored = {**configs.to_json(run), 'objective': {'name': 'run.hostile'}}
        write_json(tmp_path / 'run' / 'config.json', stored)
        (tmp_path / 'run' / 'hostile.py').write_text('raise SystemExit')
        monkeypatch.syspath_prepend(tmp_path)
        shapes = convert.abstract(run.model, 32, 3)
        loaded = pretrained.load(tmp_path / 'run', shapes, run.model, run.data)
        assert set(loaded.variables['params']) == {'encoder', 'head'}

    def test_a_run_of_other_pixels_is_told(self, source, tmp_path):
        convert_to(tmp_path / 'run', source)
        theirs = configs.train(model=configs.plugin('models', 'resnet', variant='narrow'))
        fields: Any = {'data.mean': (0.1,) * 3, 'model.dtype': 'bfloat16'}
        run = configs.override(theirs, fields)
        write_json(tmp_path / 'run' / 'config.json', configs.to_json(run))
        shapes = convert.abstract(run.model, 32, 3)
        loaded = pretrained.load(tmp_path / 'run', shapes, theirs.model, theirs.data)
        assert loaded.notes == (
            f"{tmp_path / 'run'} has model.dtype = 'bfloat16', this model 'float32'",
            f'{tmp_path / "run"} has data.mean = {(0.1,) * 3}, this model {theirs.data.mean}',
        )
        assert not pretrained.load(tmp_path / 'run', shapes, run.model, run.data).notes

    def test_the_target_is_the_work_directory_where_none_is_named(self, source, tmp_path):
        config = configs.override(kinds.convert('narrow'), {'source': str(source)})
        assert convert.run(config, tmp_path / 'work')['target'] == str(tmp_path / 'work')
        assert (tmp_path / 'work' / 'checkpoints' / '0').is_dir()


class Attack:
    """What a hostile file would have run: here it would make a folder."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Flawed:
    """Files that must be refused, by name."""

    def __init__(self, folder: Path, state: dict[str, np.ndarray]):
        self.folder, self.state = folder, state

    def hostile(self, **options: Any) -> Path:
        path = self.folder / 'flawed.pth'
        torch.save({'state_dict': Attack(self.folder / 'attacked')}, path, **options)
        return path

    def hostile_legacy(self) -> Path:
        return self.hostile(_use_new_zipfile_serialization=False)

    def hostile_beside_weights(self) -> Path:
        path = self.folder / 'flawed.pth'
        tensors = {k: torch.from_numpy(v) for k, v in self.state.items()}
        torch.save({**tensors, 'more': Attack(self.folder / 'attacked')}, path)
        return path

    def whole_module(self) -> Path:
        torch.save(torch.nn.Linear(2, 2), self.folder / 'flawed.pt')
        return self.folder / 'flawed.pt'

    def safetensors(self, **changes: Any) -> Path:
        changed = {k.replace('__', '.'): v for k, v in changes.items()}
        save_file({**self.state, **changed}, self.folder / 'flawed.safetensors')
        return self.folder / 'flawed.safetensors'

    def truncated(self, path: Path | None = None) -> Path:
        path = path or self.safetensors()
        path.write_bytes(path.read_bytes()[:-1000])
        return path

    def truncated_pth(self) -> Path:
        path = self.folder / 'flawed.pth'
        torch.save({k: torch.from_numpy(v) for k, v in self.state.items()}, path)
        return self.truncated(path)

    def truncated_npz(self) -> Path:
        arrays: Any = self.state
        np.savez(self.folder / 'flawed.npz', **arrays)
        return self.truncated(self.folder / 'flawed.npz')

    def garbage(self) -> Path:
        (self.folder / 'flawed.safetensors').write_bytes(b'\xff' * 64)
        return self.folder / 'flawed.safetensors'

    def empty(self) -> Path:
        (self.folder / 'flawed.pth').touch()
        return self.folder / 'flawed.pth'

    def misshapen(self) -> Path:
        return self.safetensors(bn1__bias=np.zeros(17, np.float32))

    def not_finite(self) -> Path:
        return self.safetensors(bn1__bias=NAN)

    def other_architecture(self) -> Path:
        linear = {'0.weight': np.zeros((2, 2), np.float32), '0.bias': np.zeros(2, np.float32)}
        save_file(linear, self.folder / 'flawed.safetensors')
        return self.folder / 'flawed.safetensors'

    def list_of_tensors(self) -> Path:
        torch.save([torch.zeros(2)], self.folder / 'flawed.pth')
        return self.folder / 'flawed.pth'

    def number_beside_tensors(self) -> Path:
        torch.save({'fc.weight': torch.zeros(2), 'epoch': 3}, self.folder / 'flawed.pth')
        return self.folder / 'flawed.pth'

    def suffix(self) -> Path:
        (self.folder / 'flawed.h5').touch()
        return self.folder / 'flawed.h5'

    def missing(self) -> Path:
        return self.folder / 'flawed.safetensors'

    def no_run(self) -> Path:
        (self.folder / 'flawed.run').mkdir()
        return self.folder / 'flawed.run'


@pytest.mark.parametrize(
    ('flaw', 'text'),
    [
        ('hostile', r'Python objects \(posix\.mkdir\), and such files can run any code'),
        ('hostile_legacy', r'Python objects \(posix\.mkdir\)'),
        ('hostile_beside_weights', r'Python objects \(posix\.mkdir\)'),
        ('whole_module', r'Python objects \(torch\.nn\.modules\.linear\.Linear\)'),
        ('truncated', 'cannot be read: .*incomplete metadata'),
        ('truncated_pth', 'cannot be read: '),
        ('truncated_npz', 'cannot be read: '),
        ('garbage', 'cannot be read: .*header'),
        ('empty', 'cannot be read: '),
        ('misshapen', r'misshapen: bn1\.bias is \(17,\), expected \(16,\)'),
        ('not_finite', r'bn1\.bias has 16 values that are NaN or infinite'),
        ('other_architecture', "is of another network than resnet 'narrow': only 0 of 47 arrays"),
        ('list_of_tensors', 'holds no state_dict but list'),
        ('number_beside_tensors', "entry 'epoch' is no tensor but int"),
        ('suffix', r"unknown suffix '\.h5'; weights are read from \.safetensors, \.pth"),
        ('missing', 'does not exist'),
        ('no_run', 'is not the directory of a run'),
    ],
)
def test_what_is_flawed_ends_in_one_line_and_nothing_is_written(flaw, text, state, tmp_path):
    path = getattr(Flawed(tmp_path, state), flaw)()
    before = files_below(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=text) as caught:
        convert_to(tmp_path / 'out' / 'weights', path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize('flaw', ['hostile', 'truncated', 'misshapen', 'other_architecture'])
def test_training_refuses_it_before_the_work_directory_is_made(flaw, state, tmp_path):
    path = getattr(Flawed(tmp_path, state), flaw)()
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=str(path)):
        train.run(small_run(**{'model.pretrained': str(path)}), tmp_path / 'work')
    assert files_below(tmp_path) == before


class TestTargets:
    @pytest.mark.parametrize('kind', ['file', 'folder', 'link'])
    def test_what_exists_is_not_overwritten(self, kind, source, tmp_path):
        target = tmp_path / 'target.safetensors'
        if kind == 'file':
            target.write_text('mine')
        elif kind == 'folder':
            target.mkdir()
        else:
            target.symlink_to(tmp_path / 'nowhere')
        before = files_below(tmp_path)
        with pytest.raises(ValueError, match='exists: choose another'):
            convert_to(target, source)
        assert files_below(tmp_path) == before

    @pytest.mark.parametrize('name', ['target.safetensors', 'target'])
    def test_a_write_that_fails_leaves_nothing(self, name, source, tmp_path, monkeypatch):
        def full(*arguments):
            (place,) = (a for a in arguments if isinstance(a, Path))
            (place / 'half' if place.is_dir() else place).write_bytes(b'half')
            raise OSError('no space left')

        monkeypatch.setattr(safetensors.numpy, 'save_file', full)
        monkeypatch.setattr(convert, 'write_json', lambda path, _: full(path.parent))
        before = files_below(tmp_path)
        with pytest.raises(OSError, match='no space left'):
            convert_to(tmp_path / name, source)
        assert files_below(tmp_path) == before

    @pytest.mark.parametrize(
        ('fields', 'text'),
        [
            ({'target': 'x.pth'}, r'ends in \.safetensors'),
            ({'naming': 'keras', 'target': 'x.safetensors'}, "no 'keras' names .* torchvision"),
            ({'source': ''}, 'config.source is empty'),
            ({'naming': 'timm'}, "naming is 'timm', but the directory out would hold our own"),
        ],
    )
    def test_mistakes(self, fields, text, source, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        before = files_below(tmp_path)
        config = kinds.convert('narrow')
        config = configs.override(config, {'source': str(source), 'target': 'out', **fields})
        with pytest.raises(ValueError, match=text):
            convert.run(config, tmp_path / 'work')
        assert files_below(tmp_path) == before

    def test_the_network_must_be_named(self, source, tmp_path):
        with pytest.raises(ValueError, match=r'configs/convert\.py:resnet50'):
            convert_to(tmp_path / 'out', source, network='')
        with pytest.raises(ValueError, match=r"unknown network 'resnet51'.*resnet50"):
            kinds.convert('resnet51')

    @pytest.mark.parametrize('kind', ['export', 'compare'])
    def test_a_source_without_a_network(self, kind, tmp_path):
        config = kinds.export() if kind == 'export' else kinds.compare({})
        write_json(tmp_path / 'config.json', configs.to_json(config))
        with pytest.raises(ValueError, match=f"{tmp_path} is of kind '{kind}' and has no weights"):
            convert_to(tmp_path / 'out', tmp_path, network='')

    def test_a_variant_beside_a_run_must_be_its_own(self, source, tmp_path):
        convert_to(tmp_path / 'run', source)
        with pytest.raises(ValueError, match='is a run of narrow, not of resnet18'):
            convert_to(tmp_path / 'out', tmp_path / 'run', network='resnet18')
        assert convert_to(tmp_path / 'out', tmp_path / 'run')['outputs'] == 3

    def test_no_torch_names_for_tensorflows_padding(self, tmp_path):
        config = configs.override(kinds.convert('mobilenet_v2').model, {'padding': 'tf'})
        variables = jax.tree.map(
            lambda x: np.zeros(x.shape, np.float32), convert.abstract(config, 32)
        )
        for naming in ('torchvision', 'timm', ''):
            with pytest.raises(ValueError, match=r"padding = 'torch', found 'tf'"):
                pretrained.give(variables, config, naming)


def test_the_command_line(state, tmp_path):
    """A file is converted; what is flawed ends in one line and exit status 1."""
    flawed = Flawed(tmp_path, state)
    path = flawed.safetensors()
    arguments = ['--config=configs/convert.py:narrow']
    done = call(*arguments, *flags({'source': path, 'target': tmp_path / 'weights'}))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('narrow, torchvision names: 47 arrays') and not done.stderr
    training = ['--config=configs/baseline.py', f'--workdir={tmp_path / "work"}']
    for flaw, train_with, text in (
        ('hostile', True, ' cannot be read: it holds Python objects (posix.mkdir)'),
        ('truncated', False, ' cannot be read: '),
        ('misshapen', True, ' (torchvision names) does not fit '),
        ('other_architecture', False, " is of another network than resnet 'narrow'"),
    ):
        path = getattr(flawed, flaw)()
        before = files_below(tmp_path)
        if train_with:
            done = call(*training, *flags({'model.pretrained': path, 'model.leave_out': 'head'}))
        else:
            done = call(*arguments, *flags({'source': path, 'target': tmp_path / 'other'}))
        assert done.returncode == 1 and not done.stdout
        assert done.stderr.startswith(f'error: {path}{text}')
        assert len(done.stderr.splitlines()) == 1
        assert files_below(tmp_path) == before
