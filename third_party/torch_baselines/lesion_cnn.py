"""The five-block network of Debiasing-Melanoma-Images, with running statistics.

Convolution, ReLU and normalisation without scale or offset in that order; see
`skinjax/models/lesion_cnn.py`.
"""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

BLOCKS = ((2, 8), (2, 32), (3, 64), (3, 128), (3, 256))


class Block(nn.Module):
    """`count` convolutions, 2x2 pooling, dropout."""

    def __init__(self, inputs: int, count: int, channels: int, pool: str, drop: float):
        super().__init__()
        self.count, self.drop = count, drop
        self.pool = F.max_pool2d if pool == 'max' else F.avg_pool2d
        for i in range(1, count + 1):
            self.add_module(f'conv{i}', nn.Conv2d(inputs, channels, 3, padding=1))
            self.add_module(f'norm{i}', nn.BatchNorm2d(channels, affine=False))
            inputs = channels

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, self.count + 1):
            x = self.get_submodule(f'norm{i}')(F.relu(self.get_submodule(f'conv{i}')(x)))
        return F.dropout(self.pool(x, 2), self.drop, self.training)


class LesionCNN(nn.Module):
    """Images of `size` pixels -> logits."""

    def __init__(self, num_classes: int = 9, size: int = 224, pool: str = 'max', drop: float = 0.3):
        super().__init__()
        inputs, self.drop = 3, drop
        for i, (count, channels) in enumerate(BLOCKS, start=1):
            self.add_module(f'block{i}', Block(inputs, count, channels, pool, drop))
            inputs = channels
        self.fc1 = nn.Linear(inputs * (size // 2 ** len(BLOCKS)) ** 2, 256)
        self.fc2 = nn.Linear(256, 64)
        self.head = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, len(BLOCKS) + 1):
            x = self.get_submodule(f'block{i}')(x)
        x = F.relu(self.fc1(x.permute(0, 2, 3, 1).flatten(1)))  # rows, columns, channels
        return self.head(F.dropout(F.relu(self.fc2(x)), self.drop, self.training))
