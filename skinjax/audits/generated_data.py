"""What a generative model does to artefacts, and what training on its images does to classifiers.

Two parts, each where its folders are given (Mikołajczyk, Majchrowska and Carrasco Limeros, "The
(de)biasing effect of GAN-based augmentation methods on skin lesion images", 2022):

generated   how often the detectors find each artefact in real and in generated images, by class
runs        how many predictions of classifiers trained on real, mixed or generated images switch
            when an artefact is inserted into every test image, and what F1 that costs
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from skinjax import config as configs
from skinjax.auditing import classifiers, generated_images, insertion, pages
from skinjax.auditing.folders import named_folders
from skinjax.data import mixing
from skinjax.data.records import COMMON, choices
from skinjax.document import Section
from skinjax.editors import overlays
from skinjax.engine.writer import Progress


def real_data(source: str = '') -> dict[str, Any]:
    """The section of real data of a source; '' is 'synthetic'."""
    return {**COMMON, **configs.plugin('data', source or 'synthetic')}


DEFAULTS: dict[str, Any] = {
    'data': real_data(),  # real images; give its root
    'generated': '',  # folders of kind 'generate', NAME=FOLDER or FOLDER, joined by commas
    'runs': '',  # of classifiers, NAME=DIRECTORY likewise; the others are compared with the first
    'split': 'train',  # of the real data, with which generated images are compared
    'test': '',  # of the real data, on which the runs are judged; '': 'test', or else 'plain'
    'n': 1000,  # images of each class and folder that are looked at, at most; 0: all
    'image_size': 0,  # at which all are looked at; 0: of the smallest generated images
    'kinds': overlays.PUBLISHED,  # inserted artefacts
    'masks': 5,  # insertions of each kind
    'tta': 'run',  # average the eight flips and transposes: on | off | run: as the run did
    'seed': 0,  # of the data, the choice of images and the insertions
    'bootstrap': 1000,
    'examples': 3,  # images with the highest score of each detector
}
Audit = Callable[[Path], tuple[dict[str, Any], list[Section]]]


def build(config: Any) -> Audit:
    """The audit.

    Raises:
        ValueError: neither folders nor runs, two of one name, or an option out of range. Later: a
            folder of other classes or of images that are not generated, a run of another task or
            of other classes, or a split that does not exist.
        FileNotFoundError: a folder or a run does not exist.
    """
    _check(config)
    folders = named_folders(config.generated, 'generated')
    runs = named_folders(config.runs, 'runs')
    if not folders and not runs:
        raise ValueError(
            'there is nothing to audit: give folders of generated images '
            '(--config.audit.generated=NAME=FOLDER,...) or classifiers '
            '(--config.audit.runs=NAME=DIRECTORY,...)'
        )

    def audit(workdir: Path) -> tuple[dict[str, Any], list[Section]]:
        results: dict[str, Any] = {'seed': config.seed}
        sections: list[Section] = []
        if folders:
            found, section = generated_images.compared(config, folders, workdir)
            results, sections = results | found, [section]
        if runs:
            found, section = _switches(config, runs, folders, workdir)
            results, sections = results | found, [*sections, section]
        return results, sections

    return audit


def _check(config: Any) -> None:
    least = {'n': 0, 'image_size': 0, 'masks': 1, 'bootstrap': 0, 'examples': 1}
    for field, bound in least.items():
        if config[field] < bound:
            raise ValueError(f'config.audit.{field} is {config[field]}, expected at least {bound}')
    if config.tta not in (known := ('on', 'off', 'run')):
        raise ValueError(f'config.audit.tta is {config.tta!r}; {choices(config.tta, known)}')
    insertion.check_kinds(config.kinds)
    if config.runs and not config.kinds:
        raise ValueError('config.audit.kinds is empty: name the artefacts to insert')


def _switches(
    config: Any, runs: dict[str, Path], folders: dict[str, Path], workdir: Path
) -> tuple[dict[str, Any], Section]:
    """What insertions do to each classifier."""
    restored = [classifiers.restore(name, path, config) for name, path in runs.items()]
    classifiers.same_rows(restored)
    first = restored[0]
    for path in folders.values():
        mixing.check_unseen(str(path), first.data)
    total = len(restored) * (1 + len(config.kinds) * config.masks)
    with Progress(total, unit='split') as progress:
        _, found = insertion.inserted(restored, config, workdir, progress.update)
    results = {
        'thresholds': {one.name: one.threshold for one in restored},
        'insertion_masks': config.masks,
        'switches': found,
    }
    section = insertion.section_of(found, first, config, workdir)
    pages.say(section.tables)
    return results, section
