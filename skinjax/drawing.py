"""Images of a generative model, drawn one batch after the other until enough are no copies.

An image that is closer to a training image than `Near.least` is refused and the next one taken, so
that the images of a class are the first ones of its seed that are no copies, however often the work
was stopped in between: `drawn.json` says which have been looked at, and of which checkpoint.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from skinjax import memorisation
from skinjax.data import balancing
from skinjax.data.parallel import Stopped
from skinjax.data.records import DataSet, Records
from skinjax.embedding import images_of
from skinjax.engine.writer import read_json, write_atomic, write_json

STATE = 'drawn.json'
CONTROL = 1000  # held-out images that are compared with the training images, at most

Images = UInt8[np.ndarray, '_ h w 3']
Found = tuple[Int[np.ndarray, ' n'], Float[np.ndarray, 'n 2']]


@dataclasses.dataclass(frozen=True)
class Near:
    """The images that a model has learned from, and how close is too close.

    Attributes:
        train: their rows.
        images: they themselves.
        turns: symmetries by which training turned them; a turned copy is a copy.
        least: mean squared error below which an image is refused; 0 for none.
        control: those of held-out images, to the nearest training image each.
    """

    train: Records
    images: np.ndarray
    turns: range
    least: float
    control: np.ndarray

    def __call__(self, images: Images) -> Found:
        """Row of the training image that each is closest to; errors to it and to the nearest of
        another group.
        """
        index, errors = memorisation.neighbours_turned(
            images, self.images, self.turns, groups=self.train.groups
        )
        return index[:, 0], errors


def near(data: DataSet, trained: Any, least: str) -> Near:
    """What images of the run with config `trained` must not be close to.

    Args:
        data: of the run.
        trained: `train.augment` and `data.augment_host` say how training turned the images.
        least: 'auto', the error that 1 % of the validation images lie below, or a number.

    Raises:
        ValueError: another word, a number below 0, or 'auto' without validation images.
    """
    train = data.splits['train']
    train = train.select(~train.flagged(balancing.VIEW))
    size = trained.data.image_size
    images = images_of(train, size)
    turns = memorisation.turns({*trained.train.augment, *trained.data.augment_host})
    control = np.zeros(0)
    if 'val' in data.splits:
        val = data.splits['val']
        some = np.unique(np.linspace(0, len(val) - 1, min(CONTROL, len(val))).astype(int))
        held = images_of(val.select(some), size)
        control = memorisation.neighbours_turned(held, images, turns)[1][:, 0]
    return Near(train, images, turns, _least(least, control), control)


def _least(text: str, control: np.ndarray) -> float:
    if text == 'auto':
        if not len(control):
            raise ValueError(
                "config.least_mse='auto' needs a split 'val' of the run, and there is none: give a "
                'number, or 0'
            )
        return memorisation.threshold(control)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"config.least_mse is {text!r}; expected 'auto' or a number from 0 to 1")
    return value


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What was made of one class: (nearest training row, mean squared error) of each image.

    Attributes:
        numbers: of the images that are kept, as the sampler counts.
        copies: refused images that are copies of one training image; see `memorisation.copies`.
        looked_at: images that were made.
    """

    kept: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    refused: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    numbers: list[int] = dataclasses.field(default_factory=list)
    copies: int = 0
    looked_at: int = 0


def places(wanted: Mapping[str, int], folder: Path) -> dict[str, list[Path]]:
    """Where so many images of each class go: files whose names are their ids."""
    found, taken = {}, set()
    for name, count in wanted.items():
        stem = re.sub(r'[^A-Za-z0-9._-]', '_', name).lstrip('.')[:80]
        while stem.lower() in taken:  # 'a b' and 'a_b'
            stem += '_'
        taken.add(stem.lower())
        found[name] = [folder / f'{stem}-{k:06d}.png' for k in range(count)]
    return found


def draw(
    make: Callable[[int, int, int], Images],
    files: Mapping[str, Sequence[Path]],
    near: Near,
    batch_size: int,
    workdir: Path,
    step: int,
    told: Callable[[int], None],
    stopped: Callable[[], object],
) -> dict[str, Drawn]:
    """Writes the images of each class, and returns what is known of them.

    Args:
        make: (class, number of the first image, how many) -> images.
        files: class -> where its images go; PNG.
        near: what they must not be close to.
        batch_size: images that are made at once.
        workdir: of the state.
        step: of the checkpoint that makes them.
        told: called with the number of images written so far.
        stopped: asked after each batch.

    Raises:
        ValueError: more images of a class are refused than kept, or those that are there are of
            another checkpoint.
        Stopped: as soon as `stopped()` is true.
    """
    state = _read_state(workdir, step)
    for label, (name, places) in enumerate(files.items()):
        one = state.setdefault(name, Drawn())
        while len(one.kept) < len(places):
            images = make(label, one.looked_at, batch_size)
            state[name] = one = _sifted(one, images, near, places)
            classes = {k: dataclasses.asdict(v) for k, v in state.items()}
            write_json(workdir / STATE, {'step': step, 'classes': classes})
            told(sum(len(other.kept) for other in state.values()))
            if stopped():
                raise Stopped
            if len(one.refused) >= batch_size and len(one.refused) > len(one.kept):
                _give_up(name, one, near.least)
    return state


def _give_up(name: str, one: Drawn, least: float) -> NoReturn:
    """Say which it is: copies, or images that are near to many because they show little."""
    what = 'the model copies what it has learned from; train it on more images, for fewer steps'
    if 2 * one.copies < len(one.refused):
        what = 'images that are plain, blurred or all alike are near to many; train for more steps'
    raise ValueError(
        f'{len(one.refused)} of {one.looked_at} images of {name!r} are closer to a training image '
        f'than config.least_mse allows ({least:.3g}), {one.copies} of them far closer than to any '
        f'other: {what}, or with objective.augment'
    )


def _read_state(workdir: Path, step: int) -> dict[str, Drawn]:
    found, state = {}, read_json(workdir / STATE)
    if state and state.get('step') != step:
        raise ValueError(
            f'{workdir / STATE}: images of step {state.get("step", "unknown")} of the run are '
            f'there, and its checkpoint is now of step {step}: delete {workdir}, or give another '
            '--workdir'
        )
    for name, one in state.get('classes', {}).items():
        kept, refused = ([(row, mse) for row, mse in one[key]] for key in ('kept', 'refused'))
        found[name] = Drawn(kept, refused, one['numbers'], one['copies'], one['looked_at'])
    return found


def _sifted(before: Drawn, images: Images, near: Near, places: Sequence[Path]) -> Drawn:
    """`before` and a batch more; what is kept is written."""
    kept, refused, numbers = list(before.kept), list(before.refused), list(before.numbers)
    index, errors = near(images)
    copied, copies = memorisation.copies(errors), before.copies
    found = zip(images, index.tolist(), errors[:, 0].tolist(), copied.tolist(), strict=True)
    for number, (image, row, mse, copy) in enumerate(found, start=before.looked_at):
        if mse < near.least:
            refused.append((row, mse))
            copies += copy
            continue
        png = cv2.imencode('.png', image[..., ::-1])[1].tobytes()
        write_atomic(places[len(kept)], png)
        kept.append((row, mse))
        numbers.append(number)
        if len(kept) == len(places):
            return Drawn(kept, refused, numbers, copies, number + 1)
    return Drawn(kept, refused, numbers, copies, before.looked_at + len(images))
