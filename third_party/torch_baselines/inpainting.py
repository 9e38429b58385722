"""Inpainting by partial convolutions (Liu et al. 2018), as an ordinary PyTorch program.

Images are [b, 3, h, w] in the normalised range, masks [b, 1, h, w] with 1 = valid. The perceptual
terms take any function from images to a list of maps.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

CHANNELS, KERNELS = (64, 128, 256), (7, 5, 5)
Maps = Callable[[Tensor], Sequence[Tensor]]


class PartialConv(nn.Module):
    """A convolution of the valid pixels with one mask for every channel, as NVIDIA published it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = False):
        super().__init__()
        self.stride, self.padding, self.taps = stride, kernel // 2, kernel**2 * inputs
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer('ones', torch.ones(1, inputs, kernel, kernel), persistent=False)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        count = F.conv2d(mask, self.get_buffer('ones'), None, self.stride, self.padding)
        new = (count > 0).float()
        y = self.conv(x * mask) * (self.taps / count.clamp(min=1))
        if self.bias is not None:
            y = y + self.bias[None, :, None, None]
        return y * new, new


class Level(nn.Module):
    """Partial convolution, normalisation, rectifier."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, norm: bool, slope: float
    ):
        super().__init__()
        self.conv = PartialConv(inputs, outputs, kernel, stride)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.slope = slope

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x, new = self.conv(x, mask)
        return F.leaky_relu(self.norm(x), self.slope), new.expand_as(x)


class PartialUNet(nn.Module):
    """Encoder and decoder over `levels` halvings; sides are multiples of 2^levels.

    Args:
        frozen_encoder_norm: keep the running statistics of the encoder, in training too.
    """

    def __init__(self, levels: int = 7, width: float = 1.0, frozen_encoder_norm: bool = False):
        super().__init__()
        self.frozen_encoder_norm = frozen_encoder_norm
        channels = [*CHANNELS, *([512] * levels)][:levels]
        channels = [3, *(max(1, round(width * n)) for n in channels)]
        kernels = [*KERNELS, *([3] * levels)]
        self.encoder, self.decoder = nn.ModuleDict(), nn.ModuleDict()
        for i in range(1, levels + 1):
            self.encoder[f'level{i}'] = Level(
                channels[i - 1], channels[i], kernels[i - 1], 2, i > 1, 0.0
            )
        for i in range(levels, 1, -1):
            inputs = channels[i] + channels[i - 1]
            self.decoder[f'level{i}'] = Level(inputs, channels[i - 1], 3, 1, True, 0.2)
        self.decoder['out'] = PartialConv(channels[1] + 3, 3, 3, bias=True)

    def train(self, mode: bool = True) -> 'PartialUNet':
        super().train(mode)
        if self.frozen_encoder_norm:
            self.encoder.train(False)
        return self

    def forward(self, images: Tensor, valid: Tensor) -> Tensor:
        x, mask = images, valid.expand_as(images)
        skips = []
        for level in self.encoder.values():
            skips.append((x, mask))
            x, mask = level(x, mask)
        for level in self.decoder.values():
            other, seen = skips.pop()
            x = torch.cat([F.interpolate(x, scale_factor=2), other], 1)
            mask = torch.cat([F.interpolate(mask, scale_factor=2), seen], 1)
            x, mask = level(x, mask)
        return x


def gram(x: Tensor) -> Tensor:
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / x[0].numel()


def variation(image: Tensor, region: Tensor) -> Tensor:
    """Total variation within a region [b, 1, h, w], divided by C H W; mean over the batch."""
    down = (image[:, :, 1:] - image[:, :, :-1]).abs() * region[:, :, 1:] * region[:, :, :-1]
    across = (image[..., 1:] - image[..., :-1]).abs() * region[..., 1:] * region[..., :-1]
    return (down.sum() + across.sum()) / image.numel()


def losses(out: Tensor, images: Tensor, valid: Tensor, maps: Maps | None) -> dict[str, Tensor]:
    """The terms of the loss without their weights; means over the batch."""
    composite = valid * images + (1 - valid) * out
    near = F.max_pool2d(1 - valid, 3, 1, 1)
    found = {
        'valid': (valid * (out - images)).abs().mean(),
        'hole': ((1 - valid) * (out - images)).abs().mean(),
        'variation': variation(composite, near),
    }
    if maps is None:
        return found
    true, ours, joined = maps(images), maps(out), maps(composite)
    pairs = list(zip(true, ours, joined, strict=True))
    found['perceptual'] = sum(
        (F.l1_loss(o, t) + F.l1_loss(c, t) for t, o, c in pairs), start=images.new_zeros(())
    )
    for name, k in (('style_out', 1), ('style_composite', 2)):
        parts = [F.l1_loss(gram(pair[k]), gram(pair[0])) for pair in pairs]
        found[name] = torch.stack(parts).sum()
    return found


class Trainer:
    """Trains a network on images with given masks.

    Args:
        model: a PartialUNet.
        optimizer: over its parameters.
        weights: of the terms of the loss.
        maps: of the perceptual terms.
    """

    def __init__(
        self,
        model: PartialUNet,
        optimizer: torch.optim.Optimizer,
        weights: Mapping[str, float],
        maps: Maps | None = None,
    ):
        self.model, self.optimizer, self.maps = model.train(), optimizer, maps
        self.weights = dict(weights)

    def step(self, images: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Train on one batch; returns the terms, detached."""
        found = losses(self.model(images, valid), images, valid, self.maps)
        total = sum((self.weights[k] * v for k, v in found.items()), start=images.new_zeros(()))
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return {name: value.detach() for name, value in found.items()}
