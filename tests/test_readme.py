"""What README.md shows works as it stands there."""

import re
from pathlib import Path

from skinjax import config as configs
from skinjax import train
from skinjax.engine.mesh import Mesh
from tests.helpers import write_folder

README = (Path(__file__).parents[1] / 'README.md').read_text(encoding='utf-8')


def test_the_config_for_your_own_pictures_trains(tmp_path):
    (code,) = [c for c in re.findall(r'```python\n(.*?)```', README, re.S) if '# mine.py' in c]
    names: dict = {}
    exec(compile(code, 'mine.py', 'exec'), names)
    config = names['get_config']()
    assert (config.optimizer.clip, config.train.ema) == (1.0, 0.98)
    config.data.root = str(write_folder(tmp_path / 'data', n=24, size=16))
    config.data.image_size, config.data.batch_size = 32, 8
    data = train.load_data(configs.resolve(config))
    assert data.classes == ('nevus', 'melanoma')
    train.Trainer(config, data, Mesh.create('jit', 1)).check()


def test_the_table_of_configs_names_every_config_once():
    named = re.findall(r'^\| `configs/(\w+)\.py`', README, re.M)
    files = sorted(path.stem for path in (Path(__file__).parents[1] / 'configs').glob('*.py'))
    assert sorted(named) == files
