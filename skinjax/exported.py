"""A classifier exported by skinjax, ready to use. This file needs no skinjax: every export has a
copy of it, `predict.py`, beside the model.

    pip install jax numpy safetensors flatbuffers        (for pictures: opencv-python pillow)
    python predict.py picture.jpg ...

    from predict import Model
    model = Model()                                      # the folder of predict.py
    out = model(images)                                  # uint8 [b, h, w, 3], RGB
    out['probabilities'], out['features']                # float32 [b, classes], [b, d]
    model.read('picture.jpg')                            # a file as in training: uint8 [h, w, 3]
    model.call(out['probabilities'])                     # labels, at the operating threshold

A research model, not a medical device: see MODEL_CARD.md.
"""

import hashlib
import io
import json
import sys
from pathlib import Path

import jax
import jax.export
import numpy as np
import safetensors.numpy

FORMAT = 1
FILES = ('model.jax', 'weights.safetensors')
FORMATS = ('BMP', 'JPEG', 'PNG', 'TIFF', 'WEBP')
MAX_PIXELS = 80_000_000
USAGE = 'usage: python predict.py PICTURE ...'


class Model:
    """The model in a folder; its files are checked against the sums in model.json.

    The sums tell damaged files, not forged ones: take a model from whom you trust.

    Attributes:
        facts: contents of model.json.
        labels: names of the classes, in the order of the probabilities.
        size: side of the images, in pixels.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or is of another format.
    """

    def __init__(self, folder: str | Path = Path(__file__).parent):
        folder = Path(folder)
        self.facts = _facts(folder / 'model.json')
        self.labels = tuple(self.facts['labels'])
        self.size = self.facts['input']['size']
        sums = self.facts['files']
        data = {name: _checked(folder / name, sums.get(name)) for name in FILES}
        weights = safetensors.numpy.load(data['weights.safetensors'])
        self._weights = jax.device_put(weights)
        self._run = jax.jit(jax.export.deserialize(bytearray(data['model.jax'])).call)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Probabilities [b, classes] and features [b, d] of uint8 RGB images [b, size, size, 3].

        Each batch size is compiled once.

        Raises:
            ValueError: images of another type or shape, or none.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise ValueError(f'expected images of type uint8 (0 to 255), found {images.dtype}')
        if images.shape[1:] != (self.size, self.size, 3) or not len(images):
            raise ValueError(
                f'expected images of shape [b, {self.size}, {self.size}, 3] with b at least 1, '
                f'found {images.shape}'
            )
        out = self._run(self._weights, images)
        return {name: np.asarray(value) for name, value in out.items()}

    def call(self, probabilities: np.ndarray) -> list[str]:
        """The label of each row: at the operating threshold for two classes, else the likeliest."""
        if len(self.labels) == 2:
            above = probabilities[:, 1] >= self.facts['threshold']['value']
            return [self.labels[int(row)] for row in above]
        return [self.labels[int(row)] for row in probabilities.argmax(1)]

    def read(self, path: str | Path) -> np.ndarray:
        """A picture as uint8 RGB [size, size, 3], upright, brought to size as in training.

        Shrinking averages areas, enlarging is cubic.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no picture, or one of too many pixels.
        """
        return _fit(_decode(Path(path), self.size), self.size, self.facts['input']['geometry'])


def _facts(path: Path) -> dict:
    try:
        facts = json.loads(path.read_text(encoding='utf-8'))
        found = facts['format']
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f'{path} is damaged, or describes no exported model') from None
    if found != FORMAT:
        raise ValueError(f'{path} is of format {found}, this program reads format {FORMAT}')
    if missing := {'labels', 'input', 'threshold', 'files'} - {*facts}:
        raise ValueError(f'{path} is damaged: it has no {min(missing)!r}')
    return facts


def _checked(path: Path, sha: str | None) -> bytes:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha:
        raise ValueError(
            f'{path} is damaged: its {len(data)} bytes do not have the SHA-256 sum in model.json; '
            'copy or export the model again'
        )
    return data


def _decode(path: Path, size: int) -> np.ndarray:
    import cv2
    from PIL import Image, ImageOps

    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as header:
            jpeg, (width, height) = header.format in ('JPEG', 'MPO'), header.size
            mode, clear = header.mode, 'transparency' in header.info
            if width * height <= MAX_PIXELS and (clear or mode in ('LA', 'PA', 'RGBA')):
                # What is transparent becomes white, as people see it.
                pixels = np.array(ImageOps.exif_transpose(header).convert('RGBA'), np.uint32)
                colour, alpha = pixels[..., :3], pixels[..., 3:]
                return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise ValueError(f'{path}: no readable picture; expected {", ".join(FORMATS)}') from None
    if width * height > MAX_PIXELS:
        raise ValueError(f'{path}: more than {MAX_PIXELS} pixels ({width} x {height})')
    if mode in ('F', 'I'):
        raise ValueError(f'{path}: 32 bits a sample; expected 8 or 16')
    # A JPEG can be decoded at 1/2, 1/4 or 1/8; half as much again is left to average over.
    factor = next((f for f in (8, 4, 2) if jpeg and 2 * min(width, height) >= 3 * f * size), 1)
    flags = getattr(cv2, f'IMREAD_REDUCED_COLOR_{factor}') if factor > 1 else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise ValueError(f'{path}: the picture is damaged or cut off ({len(data)} bytes)')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _fit(image: np.ndarray, size: int, geometry: str) -> np.ndarray:
    """'squash' to size, the central square ('crop'), or mirrored into the margins ('pad')."""
    import cv2

    height, width = image.shape[:2]
    if geometry == 'crop':
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _resize(image[top : top + side, left : left + side], size, size)
    if geometry == 'squash' or height == width:
        return _resize(image, size, size)
    scale = size / max(height, width)
    image = _resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    down, right = size - image.shape[0], size - image.shape[1]
    margins = (down // 2, down - down // 2, right // 2, right - right // 2)
    return cv2.copyMakeBorder(image, *margins, cv2.BORDER_REFLECT)


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    # Where a side shrinks by areas, then where one grows: INTER_AREA cannot do both at once.
    smaller = (min(width, image.shape[1]), min(height, image.shape[0]))
    if smaller != (image.shape[1], image.shape[0]):
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return image


def main(paths: list[str]) -> None:
    """Prints one JSON object for each picture; of two classes with what decides between them."""
    if not paths or {'-h', '--help'} & {*paths}:
        print(USAGE, file=sys.stdout if paths else sys.stderr)
        sys.exit(0 if paths else 2)
    try:
        model = Model()
        rule = {}
        if len(model.labels) == 2:
            rule = {'threshold': model.facts['threshold']['value'], 'positive': model.labels[1]}
        for path in paths:
            found = model(model.read(path)[None])['probabilities']
            values = dict(zip(model.labels, found[0].astype(float).tolist(), strict=True))
            line = {'picture': path, 'call': model.call(found)[0], **rule, 'probabilities': values}
            print(json.dumps(line, ensure_ascii=False))
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main(sys.argv[1:])
