"""Makes the pictures of docs/figures from runs of the experiments that they show.

    python docs/figures.py --list
    python docs/figures.py [NAME ...] [--runs=DIR] [--root=FOLDER] [--weights=FILE] [--out=DIR]

Without names all are made, by the commands in FIGURES: each leaves its work directory in `runs`,
where one that is done is not repeated, and one that was stopped is continued. What lacks its data
or program is named before anything runs, and left out; the exit status is then 1, as it is after a
run that failed. On another machine a trained network is another one, and so is its picture.
"""

import argparse
import dataclasses
import functools
import importlib.util
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from drawings import Place, lesions, methods, page, photographs, taken, training

from skinjax import recipes
from skinjax.engine.writer import write_atomic

HERE = Path(__file__).parent / 'figures'
ENCODING = {'.jpg': (cv2.IMWRITE_JPEG_QUALITY, 85), '.png': (cv2.IMWRITE_PNG_COMPRESSION, 9)}
NEEDS = {  # what --list and messages say
    'root': '--root=FOLDER, ISIC 2017 (docs/data.md)',
    'weights': f'--weights={recipes.WEIGHTS}, MobileNetV2 with ImageNet weights',
    'chromium': 'chromium, chromedriver and the Python package selenium',
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A command: --config=skinjax:CONFIG --workdir=RUNS/NAME and --config.FIELD for each field.

    {runs}, {root} and {weights} in a field stand for the values of a `Place`.
    """

    name: str
    config: str
    fields: tuple[str, ...] = ()

    def command(self, place: Place) -> list[str]:
        given = [f'--config.{field}'.format(**vars(place)) for field in self.fields]
        start = [sys.executable, '-m', 'skinjax.main', f'--config=skinjax:{self.config}']
        return [*start, f'--workdir={place.runs / self.name}', *given]


@dataclasses.dataclass(frozen=True)
class Figure:
    """How a picture is made.

    Attributes:
        minutes: on two cores, measured; with nothing done yet.
        draw: the picture, RGB, when the runs are done.
        runs: in their order.
        before: what the runs need and no run makes.
        also: names of NEEDS beside those that fields name.
    """

    minutes: float
    draw: Callable[[Place], np.ndarray]
    runs: tuple[Run, ...] = ()
    before: Callable[[Place], None] | None = None
    also: tuple[str, ...] = ()

    def needs(self) -> list[str]:
        text = ' '.join(field for run in self.runs for field in run.fields)
        return [name for name in NEEDS if f'{{{name}}}' in text or name in self.also]


ROOT = 'data.root={root}'
SMALL = (
    ROOT, 'data.image_size=128', 'n=8', 'style.style={runs}/photographs',
    'style.transfer.steps=100', 'style.transfer.weights={weights}',
    'style.transfer.network=mobilenet',
)  # fmt: skip
OPEN = ('gate.least_structure=-1', 'gate.most_boundary=1e9')  # what is refused is to be seen
POOLS = ('style.transfer.style_pool=own', 'style.transfer.content_pool=own')
TUNED = Run(
    'finetune_isic2017_1', 'finetune_isic2017', ('seed=1', ROOT, 'model.pretrained={weights}')
)
HAIR = (  # of the lesions of docs/purify.md
    'audit.n=40', 'audit.seed=11', "audit.kinds=('hair',)", 'audit.sizes=(256,)', 'audit.panels=3',
)  # fmt: skip
MISLED = ('data.n_train=2000', 'data.n_val=100', 'data.n_test=100', 'train.epochs=15')
FIGURES = {
    'synthetic_lesions.jpg': Figure(0.1, lesions),
    'compare_unlearning.png': Figure(
        24,
        taken('compare_unlearning/figures/comparison.png'),
        (Run('compare_unlearning', 'compare_unlearning', ('jobs=2',)),),
    ),
    'finetune_roc.png': Figure(19, taken('finetune_isic2017_1/figures/roc_test.png'), (TUNED,)),
    'finetune_training.png': Figure(
        19, functools.partial(training, 'finetune_isic2017_1'), (TUNED,)
    ),
    'segment_synthetic.jpg': Figure(
        22, taken('segment/figures/cases_marked.png'), (Run('segment', 'segment'),)
    ),
    'hair_synthetic.jpg': Figure(
        1,
        taken('hair/figures/hair_256.png'),
        (Run('hair', 'audit_artefact_removal', HAIR),),
    ),
    'inpaint_synthetic.jpg': Figure(
        25, taken('inpaint/figures/filled_plain.png'), (Run('inpaint', 'inpaint'),)
    ),
    'dcgan_synthetic.jpg': Figure(
        14,
        taken('dcgan/figures/samples.png'),
        (Run('dcgan', 'dcgan', ('evaluate.features.pretrained={weights}',)),),
    ),
    'explain_lrp.jpg': Figure(
        3,
        taken('misled_lrp/figures/maps.png', top=2 / 3),
        (
            Run('misled', 'baseline', MISLED),
            Run('misled_lrp', 'explain:lrp', ('init_from={runs}/misled', 'split=marked', 'n=60')),
        ),
    ),
    'style_isic2017.jpg': Figure(
        0.5,
        taken('stylise_isic2017/figures/contact_sheet.png', bottom=2 / 3, scale=0.85),
        (Run('stylise_isic2017', 'stylise:isic2017', (ROOT, 'n=60')),),
    ),
    'style_ita.png': Figure(
        1,
        taken('styled_test/figures/ita.png'),
        (Run('styled_test', 'stylise:isic2017', (ROOT, 'split=test', 'n=300')),),
    ),
    'style_methods.jpg': Figure(
        3,
        methods,
        (
            Run('style_transfer', 'stylise:isic2017', (*SMALL, 'style.method=transfer')),
            Run(
                'style_original',
                'stylise:isic2017',
                (*SMALL, *POOLS, *OPEN, 'style.method=original'),
            ),
        ),
        before=photographs,
    ),
    'audit_report.jpg': Figure(
        3,
        functools.partial(page, 'baseline_audit', 5),
        (
            Run('baseline', 'baseline'),
            Run('baseline_audit', 'audit', ('init_from={runs}/baseline',)),
        ),
        also=('chromium',),
    ),
}


def missing(name: str, place: Place) -> list[str]:
    """What a picture needs and is not there, as one should give it."""
    there = {
        'root': bool(place.root) and Path(place.root).is_dir(),
        'weights': bool(place.weights) and Path(place.weights).is_file(),
        'chromium': all(map(shutil.which, ('chromium', 'chromedriver')))
        and importlib.util.find_spec('selenium') is not None,
    }
    return [NEEDS[need] for need in FIGURES[name].needs() if not there[need]]


def make(name: str, place: Place, out: Path) -> None:
    """Writes one picture.

    Raises:
        RuntimeError: a run failed; the last line on the terminal says why.
    """
    figure = FIGURES[name]
    if figure.before:
        figure.before(place)
    for run in figure.runs:
        command = run.command(place)
        print(f'$ {shlex.join(["python", *command[1:]])}', flush=True)
        if status := subprocess.run(command, check=False).returncode:
            raise RuntimeError(f'the run {run.name} ended with status {status}')
    image = np.ascontiguousarray(figure.draw(place)[..., ::-1])
    suffix = Path(name).suffix
    write_atomic(out / name, cv2.imencode(suffix, image, ENCODING[suffix])[1].tobytes())
    print(f'{out / name}: {image.shape[1]} x {image.shape[0]} pixels', flush=True)


def listed() -> str:
    """Name, time and needs of each picture, and what these are."""
    rows = [
        f'{name:<24}{figure.minutes:>5g} min  {", ".join(figure.needs())}'
        for name, figure in FIGURES.items()
    ]
    return '\n'.join([*map(str.rstrip, rows), '', *(f'{k}: {v}' for k, v in NEEDS.items())])


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description='Makes the pictures of docs/figures.')
    parser.add_argument('names', nargs='*', metavar='NAME', help='pictures; default: all')
    parser.add_argument('--list', action='store_true', help='say what there is, and end')
    parser.add_argument('--runs', type=Path, default=Path('runs'), help='of the work directories')
    parser.add_argument('--out', type=Path, default=HERE, help='where pictures go')
    parser.add_argument('--root', default='', help=NEEDS['root'].partition(', ')[2])
    parser.add_argument('--weights', default='', help=NEEDS['weights'].partition(', ')[2])
    given = parser.parse_args(argv)
    if given.list:
        print(listed())
        return 0
    names = [next((n for n in FIGURES if name in (n, Path(n).stem)), name) for name in given.names]
    if unknown := [name for name in names if name not in FIGURES]:
        parser.error(f'no picture {unknown[0]!r}: --list names all')
    place = Place(given.runs, given.root, given.weights)
    left_out = {name: missing(name, place) for name in names or FIGURES}
    failed = {name: 'needs ' + '; '.join(lacks) for name, lacks in left_out.items() if lacks}
    for name, why in failed.items():
        print(f'left out: {name} {why}', file=sys.stderr, flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in (name for name in left_out if name not in failed):
        try:
            make(name, place, given.out)
        except (OSError, RuntimeError, ValueError) as error:
            failed[name] = str(error)
            print(f'not made: {name}: {error}', file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print('interrupted: the same command continues', file=sys.stderr)
            return 130
    print(f'{len(left_out) - len(failed)} of {len(left_out)} pictures made', flush=True)
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
