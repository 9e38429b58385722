"""Segmentation: lesion masks of every split against the true ones, an image at a time.

A probability of at least `threshold` is lesion, holes are filled, and the mask is measured as it is
(`skinjax/masks.py`). Rows without a mask, and those of a column `mask_clipped`, whose mask was cut
off with the image's edge, are counted and left out.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from ml_collections import ConfigDict

from skinjax import figures, masks, per_image, report, rundir
from skinjax.data.augment_device import d4
from skinjax.data.pipeline import read_row
from skinjax.data.records import DataSet, Records, choices
from skinjax.engine import mapping
from skinjax.engine.mesh import on_main
from skinjax.engine.objective import Objective, Variables
from skinjax.engine.writer import write_atomic, write_json
from skinjax.objectives import segmentation
from skinjax.pictures import outlined
from skinjax.tables import console_table, format_value
from skinjax.tasks import Judge, chosen_tta

EVALUATE: dict[str, Any] = {
    'batch_size': 16,
    'splits': (),  # empty: all but train
    'tta': False,  # average the probabilities of the four flips
    'threshold': 0.4,  # least probability of lesion; as published
    'fill_holes': True,  # as published
    'bootstrap': 1000,
    'beside': '',  # folder of real images shown beside the data in the report
}
AGAIN = {'tta': 'run', 'threshold': 0.0}  # on | off | run: as the run did; 0: that of the run
FLIPS = 4
GROUPED = ('jaccard', 'threshold_jaccard', 'dice')  # means shown for each value of a bias variable
CASES = 4  # images shown of the best, of the middle and of the worst

Tables = dict[str, np.ndarray]


def network(config: Any, data: DataSet | None = None) -> Objective:
    """The network alone; it is the same for all data."""
    del data
    return segmentation.create(config).objective({}, ())


def section(wanted: Any, run: Any) -> Any:
    """The options of `wanted`, with `tta` and threshold of the run where they are left to it.

    Raises:
        ValueError: `tta` is none of on, off and run.
    """
    threshold = wanted.threshold or run.threshold
    return ConfigDict({**wanted.to_dict(), 'tta': chosen_tta(wanted, run), 'threshold': threshold})


def usable(records: Records) -> Bool[np.ndarray, ' n']:
    """Rows whose masks, if they have any, are whole."""
    clipped = records.columns.get('mask_clipped', np.zeros(len(records), int))
    return clipped.astype(str) != '1'


def _has_masks(records: Records, size: int) -> bool:
    """Whether any row has a whole mask; as a rule the first one that is read."""
    rows = np.flatnonzero(usable(records)).tolist()
    return any('mask' in read_row(records, row, size) for row in rows)


class Task(Judge):
    """One network for masks; see `Judge`."""

    def __init__(self, *given: Any):
        super().__init__(*given)
        options = self.config.evaluate
        net = segmentation.create(self.config)

        def views(variables: Variables, images: UInt8[Array, 'b h w 3']) -> Float[Array, 'b y x']:
            found = [
                d4(jax.nn.sigmoid(net.logits(variables, d4(images, i), False))[..., None], i)
                for i in range(FLIPS if options.tta else 1)
            ]
            return jnp.stack(found).mean(0)[..., 0]

        def segment(variables: Variables, batch: dict[str, Any]) -> dict[str, Array]:
            mask = views(variables, batch['image']) >= options.threshold
            image, truth = net.cropped(batch['image']), net.truth(batch)
            return {'image': image, 'mask': mask, 'truth': truth, 'known': batch['has_mask']}

        def score(variables: Variables, batch: dict[str, Any]) -> dict[str, Array]:
            logits, truth = net.logits(variables, batch['image'], False), net.truth(batch)
            terms = net.terms(logits, batch).values()
            loss = jnp.stack([term.scale * term.values for term in terms]).sum(0)
            mask = jax.nn.sigmoid(logits) >= options.threshold
            both, either = (mask & truth).sum((1, 2)), (mask | truth).sum((1, 2))
            jaccard = jnp.where(either > 0, both / jnp.maximum(either, 1), 1.0)
            return {'loss': loss, 'jaccard': jaccard, 'known': batch['has_mask']}

        self._segment = mapping.compile_map(segment, self.mesh)
        self._score = mapping.compile_map(score, self.mesh)

    def check(self) -> None:
        """Raise ValueError for whatever would make `judge` fail after a long training."""
        options, data = self.config.evaluate, self.data
        for name, bound in {'batch_size': 1, 'bootstrap': 0}.items():
            if options[name] < bound:
                raise ValueError(
                    f'config.evaluate.{name} is {options[name]}, expected at least {bound}'
                )
        if not 0 < options.threshold <= 1:
            raise ValueError(
                f'config.evaluate.threshold is {options.threshold}, expected a probability above 0'
            )
        if unknown := sorted(set(options.splits) - set(data.splits)):
            raise ValueError(
                f'config.evaluate.splits: no {unknown[0]!r}; {choices("", data.splits)}'
            )
        if not self.config.data.with_mask:
            raise ValueError('config.data.with_mask is False: masks are judged by true ones')
        if self.earlier is None and 'val' not in data.splits:
            raise ValueError(
                "checkpoints are scored on a split 'val', which the data have not; "
                f'{choices("val", data.splits)}'
            )
        for name in self._splits() if self.earlier else ['val', *self._splits()]:
            if not _has_masks(data.splits[name], self.config.data.image_size):
                raise ValueError(
                    f'no row of the split {name!r} has a whole mask to be judged by: give data '
                    'with masks, or the splits that have them in config.evaluate.splits'
                )

    def _splits(self) -> list[str]:
        named = self.config.evaluate.splits
        return list(named or [name for name in self.data.splits if name != 'train'])

    def validate(self, variables: Variables) -> tuple[float, dict[str, float]]:
        """By the loss, of which the published rule keeps the lowest; shown with mean Jaccard."""
        records = self.data.splits['val']
        records = records.select(usable(records))
        found = mapping.map_split(self._score, variables, records, *self._how())
        known = found['known']
        shown = {name: float(found[name][known].mean()) for name in ('loss', 'jaccard')}
        return -shown['loss'], shown

    def _how(self) -> tuple[Any, Any, int]:
        """What `mapping` needs to know beside the records."""
        return self.config.data, self.mesh, self.config.evaluate.batch_size

    def judge(self, variables: Variables, workdir: Path, step: int) -> dict[str, Any]:
        """As `Judge.judge`: per_image/SPLIT.csv, figures/cases_SPLIT.png, figures/jaccard.png."""
        tables = {name: self._measure(variables, name) for name in self._splits()}
        blocks = {name: self._block(name, table) for name, table in tables.items()}
        cases = {name: self._cases(variables, name, table) for name, table in tables.items()}
        results = {'splits': blocks, 'data': self.data.describe(), 'step': step}
        results |= {'seed': self.config.seed, 'versions': rundir.versions()}

        def publish() -> None:
            for name, table in tables.items():
                path = workdir / 'per_image' / f'{name}.csv'
                per_image.write_csv(path, self.data, self.data.splits[name], table)
                write_atomic(workdir / 'figures' / f'cases_{name}.png', cases[name])
            measured = {name: table['jaccard'] for name, table in tables.items()}
            image = figures.distribution_figure(measured, 'Jaccard of an image')
            write_atomic(workdir / 'figures' / 'jaccard.png', image)
            write_json(workdir / 'results.json', results)
            report.build_run_report(workdir, self.data, self.config.evaluate.beside)
            write_atomic(workdir / 'DONE', f'step {step}\n')

        on_main(publish)
        return results

    def _masks(
        self, variables: Variables, records: Records
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Row, and image, truth, mask and whether the truth is known, of each row in turn."""
        for rows, out in mapping.stream_split(self._segment, variables, records, *self._how()):
            for k, row in enumerate(rows.tolist()):
                one = {name: values[k] for name, values in out.items()}
                if self.config.evaluate.fill_holes:
                    one['mask'] = masks.fill_holes(one['mask'])
                yield row, one

    def _measure(self, variables: Variables, split: str) -> Tables:
        """The measures of each row of a split [n], nan where it is left out, and why it is."""
        records = self.data.splits[split]
        whole = usable(records)
        names = (*masks.MEASURES, 'lesion', 'found')  # the last: share of the image
        table = {name: np.full(len(records), np.nan) for name in names}
        left_out = np.where(whole, 'no mask', 'clipped mask').astype('<U12')
        for row, one in self._masks(variables, records):
            table['found'][row] = one['mask'].mean()
            if one['known']:
                table['lesion'][row] = one['truth'].mean()
            if one['known'] and whole[row]:
                left_out[row] = ''
                for name, value in masks.measure(one['truth'], one['mask']).items():
                    table[name][row] = value
        return {**table, 'left_out': left_out}

    def _block(self, split: str, table: Tables) -> dict[str, Any]:
        """The figures of a split for results.json."""
        records, resamples = self.data.splits[split], self.config.evaluate.bootstrap
        kept = table['left_out'] == ''
        values = {name: table[name][kept] for name in masks.MEASURES}
        lesions = records.groups[kept]
        grouped = {name: values[name] for name in GROUPED}
        return {
            'n': int(kept.sum()),
            'clipped': int((table['left_out'] == 'clipped mask').sum()),
            'without_mask': int((table['left_out'] == 'no mask').sum()),
            **per_image.means(values, lesions, resamples),
            'groups': {
                name: per_image.by_variable(grouped, codes[kept], names, lesions, resamples)
                for name, names in self.data.bias.items()
                for codes in [records.bias[name]]
            },
        }

    def _cases(self, variables: Variables, split: str, table: Tables) -> bytes:
        """The best, middle and worst images of a split, each plain and with both outlines."""
        records, rows = self.data.splits[split], {}
        for title, members in extremes(table['jaccard'], CASES).items():
            pictures, named = [], []
            for k, one in self._masks(variables, records.select(np.array(members))):
                named.append(f'{records.ids[members[k]]} {table["jaccard"][members[k]]:.2f}')
                pictures += [one['image'], outlined(one['image'], one['truth'], one['mask'])]
            rows[f'{title} (true: blue, predicted: orange): {", ".join(named)}'] = pictures
        return figures.strips_figure(rows)

    def summary(self, results: dict[str, Any]) -> str:
        """The table that ends a run."""
        shown = ('jaccard', 'threshold_jaccard', 'dice', 'boundary_f', 'rowwise_jaccard')
        header = ['split', 'n', *(name.replace('_', ' ') for name in shown)]
        rows = [
            [name, block['n'], *(_plain(block[measure]) for measure in shown)]
            for name, block in results['splits'].items()
        ]
        return console_table(header, rows)


def _plain(found: Mapping[str, Any]) -> str:
    return format_value({name: found[name] for name in ('value', 'low', 'high')})


def extremes(values: Float[np.ndarray, ' n'], count: int) -> dict[str, list[int]]:
    """Rows of the `count` best, middle and worst values, no row twice; nan is left out."""
    order = np.argsort(values, kind='stable')[: int((~np.isnan(values)).sum())].tolist()
    ends = min(count, len(order) // 3)
    size = ends or len(order)
    start = (len(order) - size) // 2
    parts = {
        'best': order[len(order) - ends :][::-1],
        'middle': order[start : start + size],
        'worst': order[:ends],
    }
    return {name: rows for name, rows in parts.items() if rows}
