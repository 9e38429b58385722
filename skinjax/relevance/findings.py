"""What results.json of kind 'explain' says of its maps, and what is remarked upon."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skinjax import config as configs
from skinjax import rundir
from skinjax.predictions import Predictions
from skinjax.relevance import faithfulness
from skinjax.tables import format_value

if TYPE_CHECKING:
    from skinjax.explain import Setting

_HIGH = 0.5  # rank correlation after all weights are random that is remarked upon


def collect(
    setting: 'Setting', table: Predictions, maps: np.ndarray, checks: Mapping[str, Any]
) -> dict[str, Any]:
    """The contents of results.json; arguments as those of `report.write`."""
    config, classes = setting.config, setting.data.classes
    found = {
        'explainer': config.explainer.name,
        'split': config.split,
        'target': config.target,
        'n': len(table),
        'signed': any(bool((heat < 0).any()) for heat in maps),
        'classes': {
            name: _of_class(table, maps, k)
            for k, name in enumerate(classes)
            if (table.labels == k).any()
        },
        **{name: checks[name] for name in ('sanity', 'faithfulness') if name in checks},
        'data': setting.data.describe(),
        'threshold': setting.threshold,
        'step': setting.step,
        'seed': config.seed,
        'versions': rundir.versions(),
    }
    found['remarks'] = [*_own(setting, table), *_remarks(found)]
    return found


def line(results: Mapping[str, Any]) -> str:
    """What ends a run on the screen."""
    parts = [f'{results["n"]} maps by {results["explainer"]}']
    if results.get('sanity'):
        value = results['sanity'][-1]['rank_abs']['value']
        parts.append(f'rank correlation with those of random weights {format_value(value)}')
    for mode in faithfulness.MODES if 'faithfulness' in results else ():
        block = results['faithfulness'][mode]
        parts.append(f'{mode} better than random by {format_value(block["over_random"]["value"])}')
    return '; '.join([*parts, *results['remarks']])


def _own(setting: 'Setting', table: Predictions) -> Iterator[str]:
    """What the explainer has to say of its maps."""
    config = setting.config.explainer
    told = getattr(configs.find('explainers', config.name), 'remarks', None)
    if told:
        yield from told(config, setting.mapper.subject, table.columns['score'])


def _of_class(table: Predictions, maps: np.ndarray, k: int) -> dict[str, Any]:
    rows = np.flatnonzero(table.labels == k)
    found = {name: float(table.columns[name][rows].mean()) for name in ('score', 'total')}
    positive = [_positive_share(maps[row]) for row in rows]
    known = [share for share in positive if not np.isnan(share)]
    return {
        'n': len(rows),
        'right': float((table.columns['predicted'][rows] == k).mean()),
        **found,
        'positive_share': float(np.mean(known)) if known else float('nan'),
        'zero': int((table.columns['scale'][rows] == 0).sum()),
    }


def _positive_share(heat: np.ndarray) -> float:
    """Of the absolute relevance; nan of a map of zeros."""
    heat = heat.astype(np.float64)
    total = np.abs(heat).sum()
    return float(heat[heat > 0].sum() / total) if total else float('nan')


def _remarks(results: Mapping[str, Any]) -> Iterator[str]:
    zero = sum(block['zero'] for block in results['classes'].values())
    if zero:
        yield f'{zero} of {results["n"]} maps are zero everywhere'
    if sanity := results.get('sanity'):
        if not sanity[-1]['n']:
            yield 'no map varies with random weights, so that there is nothing to compare'
        elif sanity[-1]['rank_abs']['value'] > _HIGH:
            yield (
                'with all weights in random order the maps are much as before '
                f'({format_value(sanity[-1]["rank_abs"]["value"])}): they show the images and '
                'the build of the network more than what was learned'
            )
    for mode in faithfulness.MODES if 'faithfulness' in results else ():
        gain = results['faithfulness'][mode]['over_random']
        if not gain['low'] > 0:
            yield f'by {mode} the maps are not shown to be better than a random order'
