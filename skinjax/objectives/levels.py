"""What a hierarchical classifier adds to its results: levels in figures, and where it looked."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from skinjax import figures, pictures, taxonomy
from skinjax.data.records import DataSet
from skinjax.engine import mapping
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import Findings, Variables
from skinjax.predictions import Predictions
from skinjax.tables import format_value

FREE = 'free_'  # columns of prediction tables: node of each level, chosen without the tree
SHOWN = 7  # images in the figure, at least


def findings(
    net: Any,
    data: DataSet,
    variables: Variables,
    tables: Mapping[str, Predictions],
    mesh: Mesh,
) -> Findings:
    """Results `hierarchy`, the figures of each split (`taxonomy.measure`), and `remarks`, the same
    in words; figures/attention_SPLIT.png of one split.

    Args:
        net: a `hierarchical.Network`.
        data: with the splits of `tables`, edited ones left out.
        variables: of the network.
        tables: predictions of each split.
        mesh: to predict on.
    """
    tree, resamples = net.taxonomy, net.config.evaluate.bootstrap
    blocks = {
        name: taxonomy.measure(tree, table, _free(tree, table), resamples)
        for name, table in tables.items()
    }
    known = [name for name in tables if name in data.splits]
    split = next((name for name in ('balanced', 'test') if name in known), known[-1])
    tiles, titles = attention_panels(net, data, split, variables, tables[split], mesh)
    figure = figures.image_grid(tiles, titles, 1 + tree.levels)
    files: dict[str, str | bytes] = {f'figures/attention_{split}.png': figure}
    several = tree.levels > 1
    remarks = [_in_words(name, block) for name, block in blocks.items() if several]
    return Findings({'hierarchy': blocks, 'remarks': remarks}, files)


def _free(tree: taxonomy.Taxonomy, table: Predictions) -> np.ndarray | None:
    if tree.levels == 1:
        return None
    return np.stack([table.columns[f'{FREE}{k + 1}'] for k in range(tree.levels)], axis=1)


def _in_words(split: str, block: Mapping[str, Any]) -> str:
    shares = [format_value(level['accuracy']['value']) for level in block['levels'].values()]
    text = f'{split}: accuracy by level {", ".join(shares)}'
    if block['mistakes']['count']:
        text += f'; the mean mistake is {block["mistakes"]["severity"]:.2f} levels high'
    share = 100 * block['inconsistent']['value']
    return f'{text}; {share:.1f} % of the paths would be inconsistent without the tree'


def attention_panels(
    net: Any,
    data: DataSet,
    split: str,
    variables: Variables,
    table: Predictions,
    mesh: Mesh,
) -> tuple[list[np.ndarray], list[str]]:
    """Images of each class, each followed by itself lit where the network looked for every node of
    the called path; and their titles.
    """
    tree, records, called = net.taxonomy, data.splits[split], table.predicted()
    count = -(-SHOWN // len(data.classes))
    each = [np.flatnonzero(records.labels == k)[:count] for k in range(len(data.classes))]
    rows = np.concatenate(each)

    def look(variables: Variables, batch: Mapping[str, Any]) -> dict[str, Any]:
        maps = net.looked(variables, batch['image'], batch['label'])
        return {'image': batch['image'], 'map': maps}

    # The called classes stand in the place of the labels. They need not be those of these images
    # as they are: with evaluate.tta they follow from all symmetries.
    some = dataclasses.replace(records.select(rows), labels=called[rows])
    run = mapping.compile_map(look, mesh)
    found = mapping.map_split(run, variables, some, net.config.data, mesh, len(rows))
    tiles, titles = [], []
    for k, row in enumerate(rows.tolist()):
        true, path = tree.paths[records.labels[row]], tree.paths[called[row]]
        tiles.append(found['image'][k])
        titles.append(f'{tree.names[true[-1]]} ({records.ids[row][-16:]})')
        for level, node in enumerate(path.tolist()):
            tiles.append(pictures.lit(found['image'][k], found['map'][k, level]))
            name = tree.names[node]
            titles.append(name if name == tree.names[true[level]] else f'{name}, wrong')
    return tiles, titles
