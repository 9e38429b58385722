"""What `configs/prepare.py` wrote: images already decoded, upright and small, in ArrayRecord files.

`root` is the work directory of the preparation. The table gives every row its label, split, group,
bias values and further columns; the pixels come from the files in `shards/`. All bias variables are
there, and which rows belong together as counterfactual pairs, as in the data that were prepared;
further columns of the table become bias variables where `config.bias` names them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinjax.data import cloud, examples, images, shards, writing
from skinjax.data.labels import one_against_rest
from skinjax.data.records import DataSet, Records
from skinjax.data.table import read_table
from skinjax.engine.writer import read_json

DEFAULTS: dict[str, Any] = {
    'positive': '',  # with more than two classes: this one against the rest
}
AGAIN = 'run the same configs/prepare.py again: it writes what is missing or damaged'


def build(config: Any, seed: int) -> DataSet:
    """The data set; `seed` is not used, the split is the one that was prepared.

    Images are brought from the prepared size to `config.image_size`; `info['notes']` tells where
    that enlarges them.

    Raises:
        ValueError: no `root`, an unfinished preparation, files that are missing, damaged or belong
            to another table, an unknown class.
        FileNotFoundError: nothing was prepared there.
    """
    del seed
    root = _root(config)
    facts, table = writing.read_facts(root), read_table(root / writing.TABLE)
    files = read_json(root / shards.FACTS)
    for name, fact in files.items():
        if problem := shards.damage(root, name, fact):
            raise ValueError(f'{problem}; {AGAIN}')
    codes, names = table.codes('label', facts['classes'])
    labels, classes = one_against_rest(codes, names, config.positive)
    # What was a column of the source can be a bias variable now.
    wanted = [*facts['bias'], *(name for name in config.bias if name in table.columns)]
    bias = {
        name: table.codes(name, facts['bias'].get(name, ()), unknown=True)
        for name in dict.fromkeys(wanted)
    }
    used = {'id', 'split', 'label', 'group', *bias}
    splits = table.array('split')
    parts = {}
    for split in dict.fromkeys(splits.tolist()):
        rows = np.flatnonzero(splits == split)
        ids = table.array('id')[rows]
        parts[split] = Records(
            ids,
            labels[rows],
            {name: codes[rows] for name, (codes, _) in bias.items()},
            table.array('group')[rows],
            _Reader(root, [name for name in files if files[name]['split'] == split], ids, config),
            {name: table.array(name)[rows] for name in table.columns if name not in used},
        )
    form = facts['info']['prepared']
    info = dict(facts['info']) if classes == facts['classes'] else {'prepared': form}
    if (size := form['image_size']) < config.image_size:
        info['notes'] = [f'images of {size} pixels are enlarged to {config.image_size}']
    values = {name: values for name, (_, values) in bias.items()}
    return DataSet('prepared', classes, values, parts, facts['pairs'], info)


def variables(config: Any) -> list[str]:
    """Columns of the table: each can be named in `config.bias`. Raises as `build`."""
    return list(read_table(_root(config) / writing.TABLE).columns)


def _root(config: Any) -> Path:
    """The work directory of a finished preparation."""
    if not config.root:
        raise ValueError('prepared data are read from a folder; give it with --config.data.root')
    root = cloud.local(config.root, 'data.root')
    if not (root / shards.FACTS).is_file():
        raise FileNotFoundError(f'{root}: nothing was prepared there (no {shards.FACTS})')
    if not (root / 'DONE').is_file():
        raise ValueError(f'{root}: the preparation is not finished; {AGAIN}')
    return root


class _Reader:
    """row of a split -> its image, and its mask if there is one; any number of threads at once."""

    def __init__(self, root: Path, names: Sequence[str], ids: np.ndarray, config: Any):
        from grain.sources import ArrayRecordDataSource

        self.ids, self.size, self.with_mask = ids, config.image_size, config.with_mask
        self.where = f'{root / shards.FOLDER}: {names[0]} ...'
        try:
            self.records: Any = ArrayRecordDataSource(
                [str(root / shards.FOLDER / name) for name in names]
            )
        except RuntimeError as error:
            raise ValueError(f'{self.where}: damaged ({error}); {AGAIN}') from None
        if len(self.records) != len(ids):
            raise ValueError(
                f'{self.where}: {len(self.records)} records, but {writing.TABLE} has {len(ids)} '
                f'rows; {AGAIN}'
            )

    def __call__(self, row: int) -> dict[str, np.ndarray]:
        where = f'{self.where}: record {row}'
        try:
            values: Any = examples.parsed(self.records[row])
            found = values['id'].decode()
        except (KeyError, RuntimeError, ValueError) as error:
            raise ValueError(f'{where} is damaged ({error}); {AGAIN}') from None
        if found != self.ids[row]:
            raise ValueError(f'{where} is {found!r}, but {writing.TABLE} says {self.ids[row]!r}')
        example = {'image': images.decode(where, self.size, data=values['image'])}
        if self.with_mask and values.get('has_mask'):
            example['mask'] = images.decode_mask(where, self.size, data=values['mask'])
        return example
