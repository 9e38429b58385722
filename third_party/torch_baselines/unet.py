"""The dilated U-Net for lesion masks and its training step in PyTorch.

Written from the layer table of Bisla et al. 2019 (section 4.1, table 1): transposed convolutions
are `nn.ConvTranspose2d`, biases are missing in `bottom` and `out`, and convolutions are initialised
as published. Images of H pixels need H = 4 modulo 8 and at least 228.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

LEVELS = (64, 128, 256)
BOTTOM = ((512, 2), (512, 2), (1024, 4), (1024, 4))  # channels and dilation
RISE = ((1024, 4), (512, 4), (512, 2), (512, 2))


class Down(nn.Module):
    """Two 3x3 convolutions without padding."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3)
        self.conv2 = nn.Conv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x), inplace=True)
        return F.relu(self.conv2(x), inplace=True)


class Up(nn.Module):
    """Doubling with a convolution, the skip, two transposed convolutions."""

    def __init__(self, inputs: int, channels: int, skips: bool):
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, 3, padding=1)
        self.tconv1 = nn.ConvTranspose2d(channels * (1 + skips), channels, 3)
        self.tconv2 = nn.ConvTranspose2d(channels, channels, 3)
        self.skips = skips

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.relu(self.conv(F.interpolate(x, scale_factor=2, mode='nearest')), inplace=True)
        if self.skips:
            x = torch.cat([x, skip], 1)
        x = F.relu(self.tconv1(x), inplace=True)
        return F.relu(self.tconv2(x), inplace=True)


class DilatedUNet(nn.Module):
    """[b, 7, h, w] -> logits [b, h, w]."""

    def __init__(self, inputs: int = 7, width: float = 1.0, bias: bool = False, skips: bool = True):
        super().__init__()

        def scaled(channels: int) -> int:
            return max(1, round(width * channels))

        for i, channels in enumerate(LEVELS, start=1):
            self.add_module(f'down{i}', Down(inputs, scaled(channels)))
            inputs = scaled(channels)
        self.bottom = nn.Module()
        for layer, name, part in ((nn.Conv2d, 'conv', BOTTOM), (nn.ConvTranspose2d, 'tconv', RISE)):
            for i, (channels, dilation) in enumerate(part, start=1):
                module = layer(inputs, scaled(channels), 3, dilation=dilation, bias=bias)
                self.bottom.add_module(f'{name}{i}', module)
                inputs = scaled(channels)
        for i, channels in reversed([*enumerate(LEVELS, start=1)]):
            self.add_module(f'up{i}', Up(inputs, scaled(channels), skips))
            inputs = scaled(channels)
        self.out = nn.Conv2d(inputs, 1, 1, bias=bias)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                taps = math.prod(module.kernel_size)
                nn.init.normal_(module.weight, std=math.sqrt(2 / (taps * module.out_channels)))

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for i in range(1, 4):
            maps.append(self.get_submodule(f'down{i}')(x))
            x = F.max_pool2d(maps[-1], 2)
        for layer in self.bottom.children():
            x = F.relu(layer(x), inplace=True)
        for i in (3, 2, 1):
            x = self.get_submodule(f'up{i}')(x, maps[i - 1])
        return self.out(x)[:, 0]


class Trainer:
    """Adam steps on the mean binary cross-entropy of all pixels."""

    def __init__(self, model: nn.Module, lr: float = 1e-4, **options):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr, **options)

    def step(self, images: Tensor, masks: Tensor) -> Tensor:
        """One step on [b, 7, h, w] and masks [b, h, w] of 0 and 1; the loss before it."""
        self.optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(self.model(images).float(), masks)
        loss.backward()
        self.optimizer.step()
        return loss.detach()
