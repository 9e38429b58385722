"""Style transfer by Gram matrices as ordinary PyTorch programs, from the published descriptions.

The loop of Debiasing-Melanoma-Images: maps of the five-block network, with average pooling for the
style and maximum pooling for the content (block 4), normalised by the moments of the image; Gram
matrices divided by the positions, and their distance by 4 N^2 M^2 again; Adam on the pixels, which
are clipped after every step. And that of Gatys et al. 2016 with VGG-16. Images are [b, 3, h, w]
from 0 to 1; a batch of several is optimised at once, every image by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from third_party.torch_baselines import lesion_cnn

Maps = Callable[[Tensor], tuple[list[Tensor], Tensor]]  # of the style, and of the content
VGG = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


class Blocks(lesion_cnn.LesionCNN):
    """The five blocks of `LesionCNN` without its dense layers.

    Args:
        pool: max or avg.
        batch_norm: normalise every image by its own moments.
    """

    num_features = 256

    def __init__(self, pool: str = 'max', batch_norm: bool = False):
        super().__init__(pool=pool, drop=0.0)
        del self.fc1, self.fc2, self.head
        self.batch_norm = batch_norm

    def maps(self, x: Tensor, count: int = len(lesion_cnn.BLOCKS)) -> list[Tensor]:
        """Output of the first `count` blocks."""
        found = []
        for i in range(1, count + 1):
            block: Any = self.get_submodule(f'block{i}')
            x = self._block(block, x) if self.batch_norm else block(x)
            found.append(x)
        return found

    def _block(self, block: Any, x: Tensor) -> Tensor:
        for i in range(1, block.count + 1):
            x = F.instance_norm(F.relu(block.get_submodule(f'conv{i}')(x)), eps=1e-5)
        return block.pool(x, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[-1].mean((2, 3))


class VGG16(nn.Module):
    """VGG-16 without normalisation and without dense layers; names as in torchvision."""

    num_features = 512

    def __init__(self):
        super().__init__()
        parts: list[nn.Module] = []
        inputs = 3
        for count, channels in VGG:
            for _ in range(count):
                parts += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU()]
                inputs = channels
            parts.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*parts)

    def maps(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Outputs of the layers of these numbers, in rising order."""
        found = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in layers:
                found.append(x)
            if number == max(layers):
                return found
        return found

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).mean((2, 3))


def gram(x: Tensor) -> Tensor:
    """F^T F / N of maps [b, c, h, w]."""
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def style_loss(maps: Sequence[Tensor], grams: Sequence[Tensor], norm: str = 'report') -> Tensor:
    """(1 / L) sum of the distances of the Gram matrices, for each image."""
    parts = []
    for x, target in zip(maps, grams, strict=True):
        m, n = x.shape[1], x.shape[2] * x.shape[3]
        total = (gram(x) - target).square().sum((1, 2))
        size = {'report': 4 * n**2 * m**2, 'gatys': 4 * m**2, 'mean': m**2}.get(norm)
        parts.append(total / (target.square().sum((1, 2)) if size is None else size))
    return torch.stack(parts).mean(0)


def content_loss(x: Tensor, target: Tensor, norm: str = 'report') -> Tensor:
    """1/2 sum of the squared difference, or its mean, or relative to the target; for each image."""
    squares = (x - target).square()
    if norm == 'relative':
        return squares.sum((1, 2, 3)) / target.square().sum((1, 2, 3))
    return squares.mean((1, 2, 3)) if norm == 'mean' else 0.5 * squares.sum((1, 2, 3))


class Stylist:
    """Optimises images.

    Args:
        maps: of images; the weights of the networks stay as they are.
        content, style: images to take these from.
        start: images to begin with.
        weights: (alpha, beta) of content and style.
        norm: report, gatys, mean or relative.
        rate: of Adam.
        fused: use its fused kernel.
    """

    def __init__(
        self,
        maps: Maps,
        content: Tensor,
        style: Tensor,
        start: Tensor,
        weights: tuple[float, float] = (10.0, 1e8),
        norm: str = 'report',
        rate: float = 0.01,
        fused: bool = False,
    ):
        self.maps, self.norm = maps, norm
        self.alpha, self.beta = weights
        with torch.no_grad():
            self.grams = [gram(x) for x in maps(style)[0]]
            self.target = maps(content)[1]
        self.image = start.detach().clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.image], rate, fused=fused)

    def losses(self) -> dict[str, Tensor]:
        """The terms and their weighted sum, for each image."""
        of_style, of_content = self.maps(self.image)
        style = style_loss(of_style, self.grams, self.norm)
        content = content_loss(of_content, self.target, self.norm)
        total = self.alpha * content + self.beta * style
        return {'total': total, 'style': style, 'content': content}

    def step(self) -> dict[str, Tensor]:
        """One step; returns the losses before it, detached."""
        found = self.losses()
        (self.image.grad,) = torch.autograd.grad(found['total'].sum(), self.image)
        self.optimizer.step()
        with torch.no_grad():
            self.image.clamp_(0, 1)
        return {name: value.detach() for name, value in found.items()}


def published(model: Any, images: Tensor, style: Tensor, **more: Any) -> Stylist:
    """The loop of the report with the weights of a `Blocks`, from the style image."""
    average = Blocks('avg', model.batch_norm).to(images.device)
    average.load_state_dict(model.state_dict())
    for one in (average, model):
        one.eval().requires_grad_(False)

    def maps(x: Tensor) -> tuple[list[Tensor], Tensor]:
        return average.maps(x), model.maps(x, 4)[3]

    return Stylist(maps, images, style, style.expand_as(images), **more)


def with_vgg(model: VGG16, images: Tensor, style: Tensor, **more: Any) -> Stylist:
    """relu1_1 to relu5_1 for the style, relu4_2 for the content; from the content."""
    model.eval().requires_grad_(False)
    mean, std = (
        torch.tensor(v, device=images.device)[None, :, None, None]
        for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )

    def maps(x: Tensor) -> tuple[list[Tensor], Tensor]:
        found = model.maps((x - mean) / std, (1, 6, 11, 18, 20, 25))
        return [*found[:4], found[5]], found[4]

    more = {'weights': (1.0, 1.0), 'norm': 'relative', 'rate': 0.02} | more
    return Stylist(maps, images, style, images, **more)
