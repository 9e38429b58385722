"""Defaults of every kind but 'train' and 'evaluate', whose plug-ins make them in `config.py`."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from skinjax import config as configs
from skinjax.data import records

RUN = ('init_from', 'root', 'devices')  # of kinds and audits that take one run


def generate(source: str = '') -> configs.Config:
    """Defaults of kind 'generate' for a data source ('' is 'synthetic'), or for 'gan': a run."""
    if source == 'gan':
        return _synthesis()
    data = {**records.COMMON, **configs.plugin('data', source or 'synthetic'), 'with_mask': True}
    # beside: folder of real images shown below the others on the contact sheet.
    return configs.make({'kind': 'generate', 'seed': 0, 'data': data, 'beside': ''}).lock()


def _synthesis() -> configs.Config:
    values = {
        'kind': 'generate',
        'seed': 0,  # of the images
        'init_from': '',  # directory of a run of task 'generation'
        'root': '',  # replaces data.root of the run
        'count': '',  # images of each class, 350, or of some: melanoma=350,nevus=20
        'batch_size': 64,  # images that are made at once
        'batch_statistics': False,  # normalise by the batch, as the published code does
        # Mean squared error (pixels 0 to 1) to the nearest training image, below which an image is
        # refused and another made: auto, which 1 % of held-out real images lie below; 0: none.
        'least_mse': 'auto',
        'split': 'train',
        'beside': '',  # folder of real images shown below the others on the contact sheet
    }
    return configs.make(values).lock()


def stylise(source: str = '') -> configs.Config:
    """Defaults of kind 'generate' with a style, for a data source; '' is 'synthetic'."""
    from skinjax.styling import gate as style_gate

    data = {**records.COMMON, **configs.plugin('data', source or 'synthetic')}
    if source not in ('', 'synthetic'):
        data['image_size'] = 256
    before = _editors()
    values = {
        'kind': 'generate',
        'seed': 0,
        'data': {**data, 'with_mask': True, 'cache': False},
        'split': 'train',  # whose images are styled
        'n': 0,  # of them, evenly over the split; 0: all
        'chain': (),  # editors that come first, such as segment for lesion masks
        'editors': {name: dict(configs.find('editors', name).DEFAULTS) for name in before},
        'style': dict(configs.find('editors', 'style').DEFAULTS),
        'gate': dict(style_gate.DEFAULTS),
        'classifier': '',  # directory of a run whose predictions are compared
        'batch_size': 8,  # images that are styled at once
        'workers': 0,  # threads; 0: as many as there are cores, or 1 where a network styles
    }
    return configs.make(values).lock()


def inspect(source: str = '') -> configs.Config:
    """Defaults of kind 'inspect' for a data source; '' is 'synthetic'."""
    from skinjax.data import duplicates

    data = {**records.COMMON, 'image_size': 128, 'cache': False}
    data |= {**configs.plugin('data', source or 'synthetic'), 'with_mask': True}
    values = {
        'kind': 'inspect',
        'seed': 0,
        'data': data,
        'distance': duplicates.DISTANCE,  # in bits, of perceptual hashes of near duplicates
        'correlation': duplicates.CORRELATION,  # least one of their thumbnails
        'detect': False,  # also look for artefacts with data/detectors.py, at 256 pixels
    }
    return configs.make(values).lock()


def prepare(source: str = '') -> configs.Config:
    """Defaults of kind 'prepare' for a data source; '' is 'synthetic'."""
    data = {**records.COMMON, **configs.plugin('data', source or 'synthetic')}
    values = {
        'kind': 'prepare',
        'seed': 0,
        'data': {**data, 'image_size': 256, 'with_mask': True},
        'archives': '',  # zip or tar files, separated by commas, that are unpacked into data.root
        'encoding': 'jpeg',  # of images, 4:4:4; or 'png': without loss, five times as large
        'quality': 95,  # of JPEG
        'shard_rows': 1024,  # images in a file
        'workers': 0,  # threads; 0: as many as there are cores
        'copy_to': '',  # folder or address (gs://...) to which the result is copied
    }
    return configs.make(values).lock()


def purify(source: str = '', editors: Iterable[str] = ('hair',)) -> configs.Config:
    """Defaults of kind 'purify' for a data source; '' is 'synthetic'.

    Args:
        source: of the images.
        editors: in order; those of the package can be exchanged later by `chain`.
    """
    data = {**records.COMMON, **configs.plugin('data', source or 'synthetic')}
    names = dict.fromkeys([*_editors(), *editors])
    values = {
        'kind': 'purify',
        'seed': 0,
        'data': {**data, 'image_size': 256, 'with_mask': True, 'cache': False},
        'chain': tuple(editors),  # names of editors, in order
        'editors': {editor_key(n): dict(configs.find('editors', n).DEFAULTS) for n in names},
        'workers': 0,  # threads; 0: as many as there are cores
    }
    return configs.make(values).lock()


def _editors() -> list[str]:
    """Those that a chain can have: what 'style' makes is judged, which kind 'generate' does."""
    return [name for name in configs.siblings('editors') if name != 'style']


def editor_key(name: str) -> str:
    """Where the options of an editor stand in `config.editors`: its name without dots."""
    return name.replace('.', '_')


def audit(name: str, **fields: Any) -> configs.Config:
    """Defaults of kind 'audit' for the audit `name`, with `fields` of it replaced.

    What other kinds have too, such as `init_from`, stands at the top (RUN).

    Raises:
        ValueError: unknown audit or field.
    """
    section = configs.plugin('audits', name, **fields)
    above = {field: section.pop(field) for field in RUN if field in section}
    return configs.make({'kind': 'audit', **above, 'audit': section}).lock()


def explain(name: str = '', **fields: Any) -> configs.Config:
    """Defaults of kind 'explain' for the explainer `name` ('' is 'lrp'), with `fields` of it
    replaced.

    Raises:
        ValueError: unknown explainer or field.
    """
    values = {
        'kind': 'explain',
        'seed': 0,  # of random weights and orders
        'init_from': '',  # directory of a run
        'root': '',  # replaces data.root of the run
        'devices': 0,  # 0: all
        'explainer': configs.plugin('explainers', name or 'lrp', **fields),
        'split': '',  # whose images are explained; '' is test, plain, or else the last
        'n': 200,  # of them, evenly over the split; 0: all
        'target': 'predicted',  # what is explained: predicted, label, or the name of a class
        'batch_size': 16,  # images that are explained at once
        'dtype': 'float16',  # of the maps; or float32
        'shown': 12,  # images in the report
        'sanity': 8,  # images whose maps are compared with those of randomised weights; 0: none
        'faithfulness': 32,  # images of deletion and insertion; 0: none
        'fill': 'mean',  # in place of deleted pixels: mean, or blur
    }
    return configs.make(values).lock()


def export(**fields: Any) -> configs.Config:
    """Defaults of kind 'export', with `fields` replaced.

    Raises:
        ValueError: unknown field.
    """
    values = {
        'kind': 'export',
        'init_from': '',  # directory of a finished run
        'root': '',  # replaces data.root of the run
        'platforms': ('cpu', 'cuda', 'tpu'),  # that the exported model runs on; also rocm
        'tta': 'run',  # average the eight flips and transposes: on | off | run: as the run did
    }
    return configs.make(configs.replaced("kind 'export'", values, fields)).lock()


def _networks() -> dict[str, dict[str, Any]]:
    """Model sections by family (its default) and by variant."""
    found = {}
    for family in configs.siblings('models', configs.CLASSIFICATION):
        variants = getattr(configs.find('models', family), 'VARIANTS', ())
        found[family] = configs.plugin('models', family)
        found |= {
            variant: configs.plugin('models', family, variant=variant) for variant in variants
        }
    return found


def convert(variant: str = '') -> configs.Config:
    """Defaults of kind 'convert'; `variant` names the network of the source, such as resnet50.

    Raises:
        ValueError: no model file has such a variant.
    """
    model = {}
    if variant:
        known = _networks()
        if variant not in known:
            raise ValueError(f'unknown network {variant!r}: choose one of {", ".join(known)}')
        model = {**configs.common('model', known[variant]['name']), **known[variant]}
    values = {
        'kind': 'convert',
        'source': '',  # file of weights, or directory of a run or of a converted checkpoint
        'target': '',  # FILE.safetensors, or a new directory; empty: the work directory
        'naming': '',  # of a target file: torchvision | timm | skinjax; empty: the first there is
        'image_size': 224,  # matters to lesion_cnn alone; runs bring theirs
        'model': model,  # empty: that of the run
    }
    return configs.make(values).lock()


def benchmark(**fields: Any) -> configs.Config:
    """Defaults of kind 'benchmark' (those of `benchmark.Plan`), with `fields` replaced.

    Raises:
        ValueError: unknown field.
    """
    from skinjax.benchmark import Plan

    values = {'kind': 'benchmark', **dataclasses.asdict(Plan())}
    return configs.make(configs.replaced("kind 'benchmark'", values, fields)).lock()


def compare(runs: dict[str, configs.Config], **fields: Any) -> configs.Config:
    """Defaults of kind 'compare' for the train configs `runs`, with `fields` replaced.

    Raises:
        ValueError: unknown field.
    """
    values = {
        'kind': 'compare',
        'runs': {name: run.to_dict() for name, run in runs.items()},
        'seeds': (0, 1, 2, 3, 4),
        'folds': 0,  # > 0: every seed is also cross-validated
        'jobs': 1,  # runs side by side, each on its share of the cores
        'root': '',  # replaces data.root of every run
        'pretrained': '',  # replaces model.pretrained of the runs that have one
        'reference': '',  # the run that differences are taken to
        'ceiling': '',  # the run that marks what is possible
        'columns': (),  # (heading, dotted path in results.json), ...
        'support': (),  # (heading, dotted path of the number of rows behind it), ...
        'drawn': (),  # columns in the picture
        'order': tuple(runs),
        'note': '',  # shown above the table
    }
    return configs.make(configs.replaced("kind 'compare'", values, fields)).lock()
