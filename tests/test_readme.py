"""What README.md shows works as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

from skinjax import config as configs
from skinjax import export, kinds, train
from skinjax.engine.mesh import Mesh
from tests.helpers import shrink, write_folder

README = (Path(__file__).parents[1] / 'README.md').read_text(encoding='utf-8')


def snippet(name: str) -> str:
    """The code that begins with a comment of this file name."""
    (code,) = re.findall(rf'```python\n(# {re.escape(name)}\n.*?)```', README, re.S)
    return code


def config_of(name: str) -> configs.Config:
    names: dict = {}
    exec(compile(snippet(name), name, 'exec'), names)
    return names['get_config']()


def test_the_config_for_your_own_pictures_trains(tmp_path):
    config = config_of('mine.py')
    assert (config.optimizer.clip, config.train.ema) == (1.0, 0.98)
    config.data.root = str(write_folder(tmp_path / 'data', n=24, size=16))
    config.data.image_size, config.data.batch_size = 32, 8
    data = train.load_data(configs.resolve(config))
    assert data.classes == ('nevus', 'melanoma')
    train.Trainer(config, data, Mesh.create('jit', 1)).check()


def test_an_encoder_is_one_file(tmp_path, monkeypatch):
    """As if it lay in skinjax/models: it trains in another precision, and is exported."""
    path, name = tmp_path / 'mynet.py', 'skinjax.models.mynet'
    path.write_text(snippet('skinjax/models/mynet.py'), encoding='utf-8')
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    config = config_of('mynet.py')
    assert (config.model.name, config.model.width) == ('mynet', 24)
    fields: dict[str, Any] = {'model.dtype': 'bfloat16'}
    results = train.run(configs.resolve(shrink(config, **fields)), tmp_path / 'run')
    assert results['splits']
    facts = export.run(kinds.export(init_from=str(tmp_path / 'run')), tmp_path / 'export')
    assert facts['weights']['params/encoder/stage3/conv/conv/kernel']['shape'] == (3, 3, 96, 192)


def test_the_table_of_systems_names_every_experiment():
    table = README[README.index('## Five systems') : README.index('Variants come after a colon')]
    named = re.findall(r'`(\w+)`', table)
    files = sorted(path.stem for path in (Path(__file__).parents[1] / 'configs').glob('*.py'))
    assert sorted(named) == files
