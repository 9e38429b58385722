"""CBAM, and the attention LSTM that names the nodes of a taxonomy level by level, in PyTorch.

Written from Woo et al. 2018 (section 3) and Barata et al. 2019 (section 3): attention as in Xu et
al. 2015, the cell is `nn.LSTMCell`. Maps are [b, c, h, w], their pixels [b, l, d]; the state is
(h, c) as PyTorch has it, and concat(c, h) wherever it is an input.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

State = tuple[Tensor, Tensor]


class CBAM(nn.Module):
    """A gate for each channel, then one for each pixel."""

    def __init__(self, channels: int, ratio: int = 16):
        super().__init__()
        width = max(1, channels // ratio)
        self.mlp = nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, channels))
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.mlp(F.adaptive_avg_pool2d(x, 1).flatten(1))
        gate = gate + self.mlp(F.adaptive_max_pool2d(x, 1).flatten(1))
        x = x * torch.sigmoid(gate)[:, :, None, None]
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.norm(self.conv(pooled)))


class ChannelAttention(nn.Module):
    """Pixels with a factor for each channel, from their mean, their maximum and the state."""

    def __init__(self, channels: int, hidden: int, ratio: int):
        super().__init__()
        width = max(1, channels // ratio)
        self.pooled = nn.Linear(channels, width)
        self.state = nn.Linear(2 * hidden, width)
        self.out = nn.Linear(width, channels)

    def forward(self, pixels: Tensor, state: Tensor) -> Tensor:
        seen = F.relu(self.pooled(pixels.mean(1))) + F.relu(self.pooled(pixels.amax(1)))
        gate = torch.sigmoid(self.out(torch.tanh(seen + self.state(state))))
        return pixels * gate.unsqueeze(1)


class Decoder(nn.Module):
    """Logits of every level, given the embedding of the true node before it; without dropout.

    Args:
        channels: of the pixels.
        nodes: of the taxonomy.
        hidden: width of h and of c.
        embedding: of a node.
        ratio: of the channel attention; 0 for none.
        context: logits from the state and the context.
    """

    def __init__(
        self,
        channels: int,
        nodes: int,
        hidden: int = 512,
        embedding: int = 50,
        ratio: int = 0,
        context: bool = False,
    ):
        super().__init__()
        self.start = nn.Linear(channels, 2 * hidden)
        self.asked = nn.Linear(2 * hidden, channels)
        self.score = nn.Linear(channels, 1, bias=False)
        self.cell = nn.LSTMCell(channels + embedding, hidden)
        self.gate = ChannelAttention(channels, hidden, ratio) if ratio else None
        self.out = nn.Linear(embedding if context else 2 * hidden, nodes)
        self.context = context
        if context:
            self.from_state = nn.Linear(2 * hidden, embedding)
            self.from_context = nn.Linear(channels, embedding)

    def begin(self, pixels: Tensor) -> State:
        c, h = torch.tanh(self.start(pixels.mean(1))).chunk(2, 1)
        return h, c

    def step(self, pixels: Tensor, state: State, before: Tensor) -> tuple[State, Tensor, Tensor]:
        """(state, logits [b, nodes], attention [b, l]) of one level."""
        joined = torch.cat(state[::-1], 1)
        if self.gate is not None:
            pixels = self.gate(pixels, joined)
        scores = self.score(torch.tanh(pixels + self.asked(joined).unsqueeze(1)))
        alpha = F.softmax(scores.squeeze(2), 1)
        context = torch.bmm(alpha.unsqueeze(1), pixels).squeeze(1)
        state = self.cell(torch.cat([context, before], 1), state)
        last = torch.cat(state[::-1], 1)
        if self.context:
            last = torch.tanh(self.from_state(last) + self.from_context(context))
        return state, self.out(last), alpha

    def forward(self, pixels: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [b, l, d], embeddings [b, n, e] -> logits [b, n, nodes], attention [b, n, l]."""
        state, found = self.begin(pixels), []
        for embedded in before.unbind(1):
            state, logits, alpha = self.step(pixels, state, embedded)
            found.append((logits, alpha))
        logits, alphas = zip(*found, strict=True)
        return torch.stack(logits, 1), torch.stack(alphas, 1)


def loss(logits: Tensor, paths: Tensor) -> Tensor:
    """Mean over the levels of the cross-entropy, plus 1 - the cosine of the paths."""
    entropy = F.cross_entropy(logits.flatten(0, 1), paths.flatten())
    found = F.softmax(logits, 2).sum(1)
    true = F.one_hot(paths, logits.shape[2]).sum(1).to(found.dtype)
    return entropy + (1 - F.cosine_similarity(found, true, 1)).mean()
