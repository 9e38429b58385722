"""Residual encoders and the classifier with bias heads.

Parameters of the encoder are named as in torchvision, so that published weights load with
`load_state_dict(weights, strict=False)` (what is missing then is only `fc`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """Blocks per stage and what the stages are made of."""

    layers: tuple[int, ...]
    bottleneck: bool = False
    groups: int = 1
    width_per_group: int = 64
    base: int = 64
    stem: int = 7
    pool: int = 3


ARCHITECTURES = {
    'resnet18': Architecture((2, 2, 2, 2)),
    'resnet34': Architecture((3, 4, 6, 3)),
    'resnet50': Architecture((3, 4, 6, 3), bottleneck=True),
    'resnet101': Architecture((3, 4, 23, 3), bottleneck=True),
    'resnext101_32x8d': Architecture((3, 4, 23, 3), bottleneck=True, groups=32, width_per_group=8),
    'narrow': Architecture((1, 1, 1), base=16, stem=5, pool=2),
}


def conv(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, net: Architecture):
        super().__init__()
        self.conv1 = conv(inputs, planes, 3, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample(inputs, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride: v1.5) and 1x1 convolution with 4 times the planes."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, net: Architecture):
        super().__init__()
        width = planes * net.width_per_group // 64 * net.groups
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride, net.groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, 4 * planes, 1)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = downsample(inputs, 4 * planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + self.downsample(x), inplace=True)


def downsample(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The projection of a shortcut, or nothing where the shapes agree."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Images [b, 3, h, w] -> features [b, d] after global average pooling."""

    def __init__(self, net: Architecture):
        super().__init__()
        self.conv1 = nn.Conv2d(3, net.base, net.stem, 2, padding=net.stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(net.base)
        self.maxpool = nn.MaxPool2d(net.pool, 2, padding=(net.pool - 1) // 2)
        block = Bottleneck if net.bottleneck else BasicBlock
        channels = net.base
        self.stages = []
        for stage, count in enumerate(net.layers):
            planes = net.base * 2**stage
            blocks = []
            for i in range(count):
                stride = 2 if stage and not i else 1
                blocks.append(block(channels, planes, stride, net))
                channels = planes * block.expansion
            self.stages.append(f'layer{stage + 1}')
            self.add_module(self.stages[-1], nn.Sequential(*blocks))
        self.num_features = channels
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He initialisation; every block starts as the identity (Goyal et al. 2017)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            elif isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)
            elif isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return x.float().mean((2, 3))


def resnet(name: str) -> ResNet:
    """The encoder `name` of ARCHITECTURES.

    Raises:
        ValueError: unknown name.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f'unknown encoder {name!r}: choose one of {", ".join(ARCHITECTURES)}')
    return ResNet(ARCHITECTURES[name])


class BiasHead(nn.Module):
    """Features [b, d] -> logits [b, classes, values] of one bias variable.

    Args:
        inputs: d.
        values: number of values of the variable.
        classes: > 1 for one set of logits per class.
        hidden: width of a hidden layer (128 in the published deep head); 0 for a linear head.
        standardize: normalise the features by the statistics of their batch first.
    """

    def __init__(
        self,
        inputs: int,
        values: int,
        classes: int = 1,
        hidden: int = 0,
        standardize: bool = False,
    ):
        super().__init__()
        self.shape = (classes, values)
        self.norm = nn.BatchNorm1d(inputs, eps=1e-3, affine=False) if standardize else nn.Identity()
        self.hidden = nn.Linear(inputs, hidden) if hidden else None
        self.out = nn.Linear(hidden or inputs, classes * values)

    def forward(self, features: Tensor) -> Tensor:
        x = self.norm(features)
        if self.hidden is not None:
            x = F.relu(self.hidden(x))
        return self.out(x).unflatten(1, self.shape)


class Classifier(nn.Module):
    """Encoder, main head with dropout, and named bias heads.

    Images are uint8 [b, 3, h, w]; a batch of NHWC arrays becomes one without a copy by
    `permute(0, 3, 1, 2)`, which is also the channels-last layout that convolutions like best.

    Args:
        encoder: images -> features [b, encoder.num_features].
        outputs: 1 logit for two classes, else the number of classes.
        bias_heads: by the name of the bias variable.
        dropout: rate before the main head.
        mean, std: of the channels, for images divided by 255.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: ResNet,
        outputs: int = 1,
        bias_heads: Mapping[str, BiasHead] | None = None,
        dropout: float = 0.5,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ):
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.num_features, outputs)
        self.bias_heads = nn.ModuleDict(bias_heads or {})
        self.register_buffer('mean', torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def encode(self, images: Tensor) -> Tensor:
        """Features [b, d] of uint8 images."""
        return self.encoder((images / 255 - self.mean) / self.std)

    def classify(self, features: Tensor) -> Tensor:
        """Main logits [b, outputs]."""
        return self.head(self.dropout(features))

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.encode(images))
