"""DCGAN and coupled DCGAN for 64, 128 or 256 pixels and their training step in PyTorch.

Written from the layer tables of Bisla et al. 2019 (supplement), the published order of updates and
Radford et al. 2016. Networks take (latents or images, labels); those of class c in a coupled
network are `own.c`.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from third_party.torch_baselines.convert import to_torch

RISING = (256, 128, 64, 32, 16, 8)  # channels of the generator, from 4x4 pixels on
FALLING = (16, 32, 64, 128, 256, 512)  # and of the discriminator, to 4x4 pixels


def initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


def rise(inputs: int, channels: Sequence[int], first: int, last: bool) -> nn.Sequential:
    """Layers of a generator; `last`: down to the image."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, outputs in enumerate(channels):
        stride = (1, 0) if first + i == 1 else (2, 1)
        conv = nn.ConvTranspose2d(inputs, outputs, 4, *stride, bias=False)
        rest = [('norm', nn.BatchNorm2d(outputs)), ('relu', nn.ReLU(inplace=True))]
        if last and i == len(channels) - 1:
            rest = [('tanh', nn.Tanh())]
        layers[f'layer{first + i}'] = nn.Sequential(OrderedDict([('conv', conv), *rest]))
        inputs = outputs
    return nn.Sequential(layers)


def fall(inputs: int, channels: Sequence[int], first: int, first_norm: bool) -> nn.Sequential:
    """Layers of a discriminator."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, outputs in enumerate(channels, start=first):
        layer: OrderedDict[str, nn.Module] = OrderedDict()
        layer['conv'] = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)
        if number > 1 or first_norm:
            layer['norm'] = nn.BatchNorm2d(outputs)
        layer['relu'] = nn.LeakyReLU(0.2, inplace=True)
        layers[f'layer{number}'] = nn.Sequential(layer)
        inputs = outputs
    return nn.Sequential(layers)


def by_class(own: nn.ModuleList, x: Tensor, labels: Tensor) -> Tensor:
    """Each row through the layers of its class."""
    rows = [torch.nonzero(labels == c)[:, 0] for c in range(len(own))]
    parts = [layers(x[mine]) for layers, mine in zip(own, rows, strict=True)]
    return torch.cat(parts)[torch.argsort(torch.cat(rows))]


class Generator(nn.Module):
    """(latents [b, l], labels [b]) -> images [b, 3, s, s] from -1 to 1.

    Args:
        classes: 0 for one network for all.
    """

    def __init__(self, latent: int, size: int = 256, width: float = 1.0, classes: int = 0):
        super().__init__()
        channels = [*(max(1, round(width * n)) for n in RISING[: size.bit_length() - 3]), 3]
        count = 4 if classes else len(channels)  # of layers for all classes
        self.shared = rise(latent, channels[:count], 1, not classes)
        self.own = nn.ModuleList(
            rise(channels[count - 1], channels[count:], count + 1, True) for _ in range(classes)
        )
        self.apply(initialize)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.shared(z[:, :, None, None])
        return by_class(self.own, x, labels) if len(self.own) else x


class Discriminator(nn.Module):
    """(images, labels) -> (logits [b], features [b, c, 4, 4])."""

    def __init__(
        self, size: int = 256, width: float = 1.0, classes: int = 0, first_norm: bool = False
    ):
        super().__init__()
        channels = [max(1, round(width * n)) for n in FALLING[-(size.bit_length() - 3) :]]
        own = len(channels) - 3 if classes else 0
        self.own = nn.ModuleList(fall(3, channels[:own], 1, first_norm) for _ in range(classes))
        inputs = channels[own - 1] if own else 3
        self.shared = fall(inputs, channels[own:], own + 1, first_norm)
        self.verdict = nn.Conv2d(channels[-1], 1, 4, bias=False)
        self.apply(initialize)

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        x = by_class(self.own, x, labels) if len(self.own) else x
        features = self.shared(x)
        return self.verdict(features).flatten(), features


class Trainer:
    """The two networks in turn, each with an Adam of its own.

    Args:
        extra: updates of the generator alone after each batch of an epoch divisible by `every`.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        lr: float = 2e-4,
        extra: int = 2,
        every: int = 10,
        **options,
    ):
        self.generator, self.discriminator = generator.train(), discriminator.train()
        self.extra, self.every = extra, every
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr, (0.5, 0.999), **options)
            for net in (generator, discriminator)
        ]

    def step(
        self, images: Tensor, labels: Tensor, draw: Callable[[], Tensor], epoch: int = 1
    ) -> dict[str, Tensor]:
        """One batch: discriminator, generator on the same latents, generator on new ones.

        Args:
            draw: gives latents [b, l].
        """
        fake = self.generator(draw(), labels)
        found = self.judge(images, fake.detach(), labels)
        found['generator'] = self.persuade(fake, labels)
        for _ in range(self.extra if epoch % self.every == 0 else 0):
            self.persuade(self.generator(draw(), labels), labels)
        return found

    def judge(self, images: Tensor, fake: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Update the discriminator, to which real and generated images are shown apart."""
        self.optimizers[1].zero_grad()
        found = {}
        for name, x, target in (('real', images, 1.0), ('fake', fake, 0.0)):
            found[name] = entropy(self.discriminator(x, labels)[0], target)
            found[name].backward()
        self.optimizers[1].step()
        return {name: loss.detach() for name, loss in found.items()}

    def persuade(self, fake: Tensor, labels: Tensor) -> Tensor:
        """Update the generator."""
        self.optimizers[0].zero_grad()
        self.discriminator.requires_grad_(False)
        loss = entropy(self.discriminator(fake, labels)[0], 1.0)
        loss.backward()
        self.discriminator.requires_grad_(True)
        self.optimizers[0].step()
        return loss.detach()


def state(net: nn.Module, *trees: Mapping[str, Any]) -> dict[str, Tensor]:
    """Flax collections of the same network (`convert.to_torch`) as a state_dict of `net`."""
    transposed = {n for n, m in net.named_modules() if isinstance(m, nn.ConvTranspose2d)}
    return to_torch(*trees, transposed=transposed, stacked='own')


def entropy(logits: Tensor, target: float) -> Tensor:
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
