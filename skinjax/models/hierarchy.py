"""A classifier that says the path to a class level by level, and looks where each level is decided.

Barata et al. 2019 and 2020 (skin-hierarchy), after Xu et al. 2015. Of the last map of an encoder,
flattened to V [b, l, d], every level makes

    e = dense_1(drop(tanh(V + dense_d(s)))), alpha = softmax over pixels, context = sum alpha V
    s' = LSTM(s, drop(concat(context, embedding of the node before)))
    logits = dense_nodes(drop(s'))         or dense(drop(tanh(dense_E(s') + dense_E(context))))

with s = concat(c, h), at first tanh(dense(drop(mean V))), and nothing before the first level. V can
be gated by channel, depending on s, before. All nodes of all levels are words of one vocabulary.
Parameters are in the groups `encoder` and `head`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from skinjax.models.layers import ReLU, dropout, fold
from skinjax.taxonomy import ROOT, Taxonomy

Keys = Key[Array, ' b'] | None
# Where randomness acts: at the start, on the input of the cell (one mask for all levels), and
# twice at each level.
START, INPUT, LEVEL = 0, 1, 2


class ChannelAttention(nn.Module):
    """V with a factor for each channel, from its mean, its maximum and the state.

    sigma(dense_d(tanh(M(mean V) + M(max V) + dense(s)))), M a dense layer of d / `ratio` with ReLU.
    """

    ratio: int

    @nn.compact
    def __call__(
        self, pixels: Float[Array, 'b l d'], state: Float[Array, 'b s']
    ) -> Float[Array, 'b l d']:
        width = max(1, pixels.shape[-1] // self.ratio)
        shared, relu = nn.Dense(width, name='pooled'), ReLU(name='relu')
        total = relu(shared(pixels.mean(1))) + relu(shared(pixels.max(1)))
        hidden = jnp.tanh(total + nn.Dense(width, name='state')(state))
        gate = nn.sigmoid(nn.Dense(pixels.shape[-1], name='out')(hidden))
        return pixels * gate[:, None]


class PixelAttention(nn.Module):
    """(context [b, d], weights [b, l]): the mean of V under weights that depend on the state."""

    dropout: float = 0.2

    @nn.compact
    def __call__(
        self, pixels: Float[Array, 'b l d'], state: Float[Array, 'b s'], keys: Keys
    ) -> tuple[Float[Array, 'b d'], Float[Array, 'b l']]:
        asked = nn.Dense(pixels.shape[-1], name='state')(state)
        hidden = dropout(keys, jnp.tanh(pixels + asked[:, None]), self.dropout)
        alpha = nn.softmax(nn.Dense(1, use_bias=False, name='out')(hidden)[..., 0])
        return (alpha[..., None] * pixels).sum(1), alpha


class Cell(nn.Module):
    """An LSTM step on s = concat(c, h), with 1 added to the forget gate as TensorFlow does.

    The four gates, input, forget, new and output, are one dense layer of concat(x, h).
    """

    hidden: int

    @nn.compact
    def __call__(self, state: Float[Array, 'b s'], x: Float[Array, 'b i']) -> Float[Array, 'b s']:
        c, h = jnp.split(state, 2, axis=-1)
        gates = nn.Dense(4 * self.hidden, name='gates')(jnp.concatenate([x, h], -1))
        enter, forget, new, leave = jnp.split(gates, 4, axis=-1)
        c = nn.sigmoid(forget + 1) * c + nn.sigmoid(enter) * jnp.tanh(new)
        return jnp.concatenate([c, nn.sigmoid(leave) * jnp.tanh(c)], -1)


class Head(nn.Module):
    """The part after the encoder.

    Attributes:
        nodes: of the taxonomy.
        hidden: width of c and of h.
        dropout: rate at the start, at the input of the cell and before the logits.
        pixel_dropout: rate within the attention.
        channels: ratio of the channel attention; 0 for none.
        context: logits from the state and the context.
        embedding: width of the label embeddings.
    """

    nodes: int
    hidden: int = 512
    dropout: float = 0.5
    pixel_dropout: float = 0.2
    channels: int = 0
    context: bool = False
    embedding: int = 50

    def setup(self):
        self.start = nn.Dense(2 * self.hidden)
        self.pixels = PixelAttention(self.pixel_dropout)
        self.cell = Cell(self.hidden)
        self.out = nn.Dense(self.nodes)
        if self.channels:
            self.gate = ChannelAttention(self.channels)
        if self.context:
            self.from_state, self.from_context = (nn.Dense(self.embedding) for _ in range(2))

    def begin(self, pixels: Float[Array, 'b l d'], keys: Keys) -> Float[Array, 'b s']:
        """The state before the first level."""
        return jnp.tanh(self.start(dropout(fold(keys, START), pixels.mean(1), self.dropout)))

    def __call__(
        self,
        pixels: Float[Array, 'b l d'],
        state: Float[Array, 'b s'],
        before: Float[Array, 'b e'],
        level: int,
        keys: Keys,
    ) -> tuple[Float[Array, 'b s'], Float[Array, 'b v'], Float[Array, 'b l']]:
        """One level: (state, logits of all nodes, attention), after the embedding `before`."""
        place = LEVEL + 2 * level
        if self.channels:
            pixels = self.gate(pixels, state)
        context, alpha = self.pixels(pixels, state, fold(keys, place))
        inputs = jnp.concatenate([context, before], -1)
        state = self.cell(state, dropout(fold(keys, INPUT), inputs, self.dropout))
        last = state
        if self.context:
            last = jnp.tanh(self.from_state(state) + self.from_context(context))
        return state, self.out(dropout(fold(keys, place + 1), last, self.dropout)), alpha


class Hierarchical(nn.Module):
    """Encoder and `Head`; V are the pixels of the last map, or the features of one without maps.

    Attributes:
        encoder: (images, train, keys) -> (features, maps); see options.py.
        decoder: fields of `Head`.
    """

    encoder: nn.Module
    decoder: Any

    def setup(self):
        self.head = Head(**self.decoder)

    def __call__(self, images: Float[Array, 'b h w 3'], train: bool) -> Float[Array, 'b 1 v']:
        """Logits of the first level; initialises every parameter."""
        pixels = self.encode(images, train)
        before = jnp.zeros((images.shape[0], 1, self.head.embedding))
        return self.follow(pixels, before)[0]

    def encode(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Keys = None
    ) -> Float[Array, 'b y x d']:
        """The last map in float32."""
        features, maps = self.encoder(images, train, keys)
        return (maps[-1] if maps else features[:, None, None]).astype(jnp.float32)

    def follow(
        self, maps: Float[Array, 'b y x d'], before: Float[Array, 'b n e'], keys: Keys = None
    ) -> tuple[Float[Array, 'b n v'], Float[Array, 'b n y x']]:
        """(logits, attention) of each level, given the embedding of the node before each."""
        pixels = maps.reshape(maps.shape[0], -1, maps.shape[-1])
        state, found = self.head.begin(pixels, keys), []
        for level in range(before.shape[1]):
            state, logits, alpha = self.head(pixels, state, before[:, level], level, keys)
            found.append((logits, alpha))
        logits, alphas = (jnp.stack(part, 1) for part in zip(*found, strict=True))
        return logits, alphas.reshape(*alphas.shape[:2], *maps.shape[1:3])

    def choose(
        self, maps: Float[Array, 'b y x d'], taxonomy: Taxonomy, table: Float[Array, 'v e'],
        constrained: bool,
    ) -> tuple[Int[Array, 'b n'], Float[Array, 'b v']]:  # fmt: skip
        """The likeliest node of each level after the one before, and logits of the last level.

        With `constrained` only children of the node before are chosen; others have -1e9.
        """
        pixels = maps.reshape(maps.shape[0], -1, maps.shape[-1])
        allowed = jnp.asarray(taxonomy.allowed())
        state, chosen = self.head.begin(pixels, None), []
        before, logits = (
            jnp.zeros((maps.shape[0], table.shape[1])),
            jnp.zeros((maps.shape[0], len(table))),
        )
        node = jnp.full(maps.shape[0], ROOT)
        for level in range(taxonomy.levels):
            state, logits, _ = self.head(pixels, state, before, level, None)
            if constrained:
                logits = jnp.where(allowed[node], logits, -1e9)
            node = logits.argmax(-1)
            chosen.append(node)
            before = table[node]
        return jnp.stack(chosen, 1), logits

    def chances(
        self, maps: Float[Array, 'b y x d'], taxonomy: Taxonomy, table: Float[Array, 'v e'],
        constrained: bool,
    ) -> Float[Array, 'b c']:  # fmt: skip
        """log P(class) = sum over its path of log P(node | nodes before).

        Every path is followed. With `constrained` the children of a node have probabilities that
        add up to 1; else all nodes have, and the classes are normalised in the end.
        """
        pixels = maps.reshape(maps.shape[0], -1, maps.shape[-1])
        total: dict[int, Array] = {}

        def visit(node: int, level: int, state: Array, chance: Array) -> None:
            embedded = table[node] if node != ROOT else jnp.zeros(table.shape[1])
            before = jnp.broadcast_to(embedded, (maps.shape[0], table.shape[1]))
            state, logits, _ = self.head(pixels, state, before, level, None)
            children = taxonomy.children(node)
            if constrained:
                logs = jax.nn.log_softmax(logits[:, children])
            else:
                logs = jax.nn.log_softmax(logits)[:, children]
            for k, child in enumerate(children.tolist()):
                if level + 1 == taxonomy.levels:
                    total[child] = chance + logs[:, k]
                else:
                    visit(child, level + 1, state, chance + logs[:, k])

        visit(ROOT, 0, self.head.begin(pixels, None), jnp.zeros(maps.shape[0]))
        logs = jnp.stack([total[int(node)] for node in taxonomy.paths[:, -1]], -1)
        return jax.nn.log_softmax(logs)
