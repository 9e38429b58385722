"""A function over the rows of a split: the size of its batches."""

import numpy as np

from skinjax.engine import mapping
from skinjax.engine.mesh import Mesh
from tests.helpers import small_run, tiny_records


def test_few_rows_come_in_a_small_batch_of_few_sizes():
    config, mesh, compiled = small_run(**{'data.image_size': 8}).data, Mesh.create('jit', 4), []

    def twice(factor, batch):
        compiled.append(len(batch['label']))
        return {'twice': factor * batch['label']}

    run = mapping.compile_map(twice, mesh)
    for rows in (8, 3, 8, 11, 15, 40, 33, 70):
        records = tiny_records(rows)
        out = mapping.map_split(run, np.int32(2), records, config, mesh, 38)
        assert np.array_equal(out['twice'], 2 * records.labels)
    assert compiled == [8, 16, 40]  # 38 is no multiple of the devices
