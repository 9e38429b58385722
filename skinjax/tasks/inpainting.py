"""Inpainting: holes that are the same in every run are filled, and compared with what was there.

Beside the network stand the fillings of Telea (2004) and of Bertalmio et al. (2001, Navier-Stokes),
on the same holes of the same images. What an image lost itself ('artefact') is filled by none and
measured by none.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, UInt8

from skinjax import figures, per_image, quality, report, rundir
from skinjax.data.holes import random_holes
from skinjax.data.records import DataSet, Records, choices
from skinjax.editors import filling
from skinjax.engine import mapping
from skinjax.engine.mesh import on_main
from skinjax.engine.objective import Objective, Variables
from skinjax.engine.writer import write_atomic, write_json
from skinjax.objectives import inpainting
from skinjax.tables import console_table
from skinjax.tasks import Judge

EVALUATE: dict[str, Any] = {
    'batch_size': 32,
    'splits': (),  # empty: all but train
    'rows': 500,  # images of a split at most, evenly spread over it; 0 for all
    'bootstrap': 1000,
    'beside': '',  # folder of real images shown beside the data in the report
}
AGAIN: dict[str, Any] = {}
SEED = 20180416  # of the holes
CLASSICAL = ('telea', 'ns')
RADIUS = 2.0  # pixels around each of a hole that they look at: the best of 1, 2, 3, 5 for Telea
CEILING = 60.0  # dB: of a hole that is filled with the truth to the last bit
MEASURES = ('psnr_hole', 'psnr', 'ssim_hole', 'ssim')
NAMES = {'psnr_hole': 'PSNR in holes', 'ssim_hole': 'SSIM in holes', 'psnr': 'PSNR', 'ssim': 'SSIM'}

Image = UInt8[np.ndarray, 'h w 3']
Hole = Bool[np.ndarray, 'h w']


def network(config: Any, data: DataSet | None = None) -> Objective:
    """The network alone, to restore and predict with."""
    del data
    net = inpainting.create(config)
    return Objective(net.init, {}, (), net.predict)


def section(wanted: Any, run: Any) -> Any:
    """The options of `wanted`: there are none that are left to the run."""
    del run
    return wanted


class Task(Judge):
    """One network that fills holes; see `Judge`."""

    def __init__(self, *given: Any):
        super().__init__(*given)
        self._run = mapping.compile_map(self._fill, self.mesh)

    def _fill(self, variables: Variables, batch: dict[str, Any]) -> dict[str, Any]:
        """Images, holes, and the images with their holes filled."""
        images, index = batch['image'], jnp.maximum(batch['index'], 0)
        keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(SEED), i))(index)
        holes, unknown = random_holes(keys, *images.shape[1:3]), None
        if 'artefact' in batch:
            unknown = batch['artefact'] > 127
            holes = holes & ~unknown
        predict: Any = self.objective.predict
        out = predict(variables, images, holes, unknown)
        return {'true': images, 'hole': holes, 'ours': out['image']} | (
            {} if unknown is None else {'unknown': unknown}
        )

    def check(self) -> None:
        """Raise ValueError for whatever would make `judge` fail after a long training."""
        options = self.config.evaluate
        for name, bound in {'batch_size': 1, 'rows': 0, 'bootstrap': 0}.items():
            if options[name] < bound:
                raise ValueError(
                    f'config.evaluate.{name} is {options[name]}, expected at least {bound}'
                )
        if unknown := sorted(set(options.splits) - set(self.data.splits)):
            raise ValueError(
                f'config.evaluate.splits: no {unknown[0]!r}; {choices("", self.data.splits)}'
            )

    def validate(self, variables: Variables) -> tuple[float, dict[str, float]]:
        """Mean PSNR in the holes of the validation split."""
        found = [
            min(quality.psnr(out['ours'][k], out['true'][k], out['hole'][k]), CEILING)
            for _, out in self._stream(variables, self._rows(self.data.splits['val']))
            for k in range(len(out['hole']))
        ]
        value = float(np.nanmean(found))
        return value, {'psnr_hole': value}

    def _rows(self, records: Records) -> Records:
        most = self.config.evaluate.rows
        if not 0 < most < len(records):
            return records
        return records.select(np.linspace(0, len(records) - 1, most).astype(int))

    def _stream(self, variables: Variables, records: Records):
        size = self.config.evaluate.batch_size
        return mapping.stream_split(
            self._run, variables, records, self.config.data, self.mesh, size
        )

    def judge(self, variables: Variables, workdir: Path, step: int) -> dict[str, Any]:
        """As `Judge.judge`: the measures of ours, Telea and Navier-Stokes, and the differences."""
        names = self.config.evaluate.splits or [n for n in self.data.splits if n != 'train']
        blocks, tables, panels = {}, {}, {}
        for name in names:
            records = self._rows(self.data.splits[name])
            columns = self._measure(variables, records)
            tables[name] = records, columns
            blocks[name] = self._block(records, columns)
            panels[name] = self._panel(variables, records, columns)
        results = {
            'splits': blocks,
            'data': self.data.describe(),
            'step': step,
            'seed': self.config.seed,
            'versions': rundir.versions(),
        }

        def publish() -> None:
            for name, (records, columns) in tables.items():
                path = workdir / 'per_image' / f'{name}.csv'
                per_image.write_csv(path, self.data, records, columns)
                write_atomic(workdir / 'figures' / f'filled_{name}.png', panels[name])
            write_json(workdir / 'results.json', results)
            report.build_run_report(workdir, self.data, self.config.evaluate.beside)
            write_atomic(workdir / 'DONE', f'step {step}\n')

        on_main(publish)
        return results

    def _measure(self, variables: Variables, records: Records) -> dict[str, np.ndarray]:
        """`hole`, the share of each image, and METHOD_MEASURE of each method."""
        found: list[dict[str, float]] = [{} for _ in range(len(records))]
        for rows, out in self._stream(variables, records):
            for k, row in enumerate(rows.tolist()):
                one = {name: array[k] for name, array in out.items()}
                found[row] = {'hole': float(one['hole'].mean()), **_compare(one)}
        return {name: np.array([row[name] for row in found]) for name in found[0]}

    def _block(self, records: Records, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Mean of each measure, and by how much ours is above each classical method."""
        values = {
            name.removeprefix('ours_'): column for name, column in columns.items() if name != 'hole'
        }
        for other in CLASSICAL:
            for measure in MEASURES:
                values[f'{measure}_above_{other}'] = (
                    columns[f'ours_{measure}'] - columns[f'{other}_{measure}']
                )
        n = self.config.evaluate.bootstrap
        found = per_image.means(values, records.groups, n)
        return {'n': len(records), 'hole': float(columns['hole'].mean()), **found}

    def _panel(
        self, variables: Variables, records: Records, columns: Mapping[str, np.ndarray]
    ) -> bytes:
        """The image with the best, the median and the worst PSNR in its holes."""
        score = columns['ours_psnr_hole']
        order = np.argsort(np.nan_to_num(score, nan=np.inf), kind='stable')
        order = order[: max(1, int((~np.isnan(score)).sum()))]
        chosen = {'best': order[-1], 'median': order[len(order) // 2], 'worst': order[0]}
        shown: dict[int, dict[str, np.ndarray]] = {}
        for rows, out in self._stream(variables, records):
            for k in np.flatnonzero(np.isin(rows, list(chosen.values()))):
                shown[int(rows[k])] = {name: array[k] for name, array in out.items()}
        pictures, titles = [], []
        for name, row in chosen.items():
            one = shown[int(row)]
            holed = np.where(one['hole'][..., None], np.uint8(255), one['true'])
            telea = classical(one['true'], _blind(one), 'telea')
            pictures += [holed, one['ours'], telea, one['true']]
            titles += [f'{name}: {records.ids[row]}'[-28:]]
            titles += [f'{m}, {columns[f"{m}_psnr_hole"][row]:.1f} dB' for m in ('ours', 'telea')]
            titles += ['truth']
        return figures.image_grid(pictures, titles, 4)

    def summary(self, results: dict[str, Any]) -> str:
        """The table that ends a run."""
        header = ['split', 'n', *(f'{NAMES[m]}: {o}' for m in MEASURES[::2] for o in _METHODS)]
        rows = []
        for name, block in results['splits'].items():
            keys = [
                measure if method == 'ours' else f'{method}_{measure}'
                for measure in MEASURES[::2]
                for method in _METHODS
            ]
            rows.append([name, block['n'], *(block[key]['value'] for key in keys)])
        lines = [console_table(header, rows)]
        for name, block in results['splits'].items():
            gain = block['psnr_hole_above_telea']
            lines.append(
                f'{name}: {gain["value"]:+.2f} dB in holes against Telea '
                f'({gain["low"]:+.2f} to {gain["high"]:+.2f})'
            )
        features = self.config.objective.features
        if not (features.name or features.pretrained):
            lines.append('trained without perceptual and style terms (config.objective.features)')
        return '\n'.join(lines)


_METHODS = ('ours', *CLASSICAL)


def classical(image: Image, hole: Hole, method: str) -> Image:
    """The image with its hole filled by OpenCV ('telea', 'ns'); as it is where all is hole."""
    return filling.fill(image, hole, method, radius=400 * RADIUS / filling.side(hole.shape))


def _blind(one: Mapping[str, np.ndarray]) -> Hole:
    """What no method may look at."""
    return one['hole'] | one['unknown'] if 'unknown' in one else one['hole']


def _compare(one: Mapping[str, np.ndarray]) -> dict[str, float]:
    """METHOD_MEASURE of one image."""
    found, true, hole = {}, one['true'], one['hole']
    for method in _METHODS:
        image = one['ours'] if method == 'ours' else classical(true, _blind(one), method)
        image = np.where(hole[..., None], image, true)
        found[f'{method}_psnr_hole'] = min(quality.psnr(image, true, hole), CEILING)
        found[f'{method}_psnr'] = min(quality.psnr(image, true), CEILING)
        found[f'{method}_ssim_hole'] = quality.ssim(image, true, hole)
        found[f'{method}_ssim'] = quality.ssim(image, true)
    return found
