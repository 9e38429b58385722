"""A classifier that says the path to a class level by level, and looks where each level is decided.

Barata et al. 2019 and 2021 (skin-hierarchy), after Xu et al. 2015. With V [b, y, x, d] the last map
of an encoder, every level makes

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
import numpy as np
from jaxtyping import Array, Float, Int, Key

from skinjax.models.layers import ReLU, Scale, Sigmoid, dropout, fold
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
        self, maps: Float[Array, 'b y x d'], state: Float[Array, 'b s']
    ) -> Float[Array, 'b y x d']:
        width = max(1, maps.shape[-1] // self.ratio)
        shared, relu = nn.Dense(width, name='pooled'), ReLU(name='relu')
        total = relu(shared(maps.mean((1, 2)))) + relu(shared(maps.max((1, 2))))
        hidden = jnp.tanh(total + nn.Dense(width, name='state')(state))
        gate = Sigmoid(name='sigmoid')(nn.Dense(maps.shape[-1], name='out')(hidden))
        return Scale(name='scale')(maps, gate[:, None, None])


class SpatialAttention(nn.Module):
    """(context, weights): the mean of V under weights that depend on the state."""

    dropout: float = 0.2

    @nn.compact
    def __call__(
        self, maps: Float[Array, 'b y x d'], state: Float[Array, 'b s'], keys: Keys
    ) -> tuple[Float[Array, 'b d'], Float[Array, 'b y x']]:
        asked = nn.Dense(maps.shape[-1], name='state')(state)
        hidden = dropout(keys, jnp.tanh(maps + asked[:, None, None]), self.dropout)
        scores = nn.Dense(1, use_bias=False, name='out')(hidden)
        alpha = nn.softmax(scores[..., 0], axis=(1, 2))
        return (alpha[..., None] * maps).sum((1, 2)), alpha


class Cell(nn.Module):
    """An LSTM step on s = concat(c, h), with 1 added to the forget gate as TensorFlow does.

    The four gates, input, forget, new and output, are one dense layer of concat(x, h). By hand,
    since flax's cells have a kernel for each gate and add nothing.
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
        attention_dropout: rate within the spatial attention.
        channel_attention: its ratio; 0 for none.
        context: logits from the state and the context.
        embedding: width of the label embeddings.
    """

    nodes: int
    hidden: int = 512
    dropout: float = 0.5
    attention_dropout: float = 0.2
    channel_attention: int = 0
    context: bool = False
    embedding: int = 50

    def setup(self):
        self.start = nn.Dense(2 * self.hidden)
        self.attention = SpatialAttention(self.attention_dropout)
        self.cell = Cell(self.hidden)
        self.out = nn.Dense(self.nodes)
        if self.channel_attention:
            self.gate = ChannelAttention(self.channel_attention)
        if self.context:
            self.from_state, self.from_context = (nn.Dense(self.embedding) for _ in range(2))

    def begin(self, maps: Float[Array, 'b y x d'], keys: Keys) -> Float[Array, 'b s']:
        """The state before the first level."""
        mean = dropout(fold(keys, START), maps.mean((1, 2)), self.dropout)
        return jnp.tanh(self.start(mean))

    def __call__(
        self,
        maps: Float[Array, 'b y x d'],
        state: Float[Array, 'b s'],
        before: Float[Array, 'b e'],
        level: int,
        keys: Keys,
    ) -> tuple[Float[Array, 'b s'], Float[Array, 'b v'], Float[Array, 'b y x']]:
        """One level: (state, logits of all nodes, attention), after the embedding `before`."""
        place = LEVEL + 2 * level
        if self.channel_attention:
            maps = self.gate(maps, state)
        context, alpha = self.attention(maps, state, fold(keys, place))
        inputs = jnp.concatenate([context, before], -1)
        state = self.cell(state, dropout(fold(keys, INPUT), inputs, self.dropout))
        last = state
        if self.context:
            last = jnp.tanh(self.from_state(state) + self.from_context(context))
        return state, self.out(dropout(fold(keys, place + 1), last, self.dropout)), alpha


class Hierarchical(nn.Module):
    """Encoder and `Head`; V is the last map, or the features of an encoder without maps.

    Attributes:
        encoder: (images, train, keys) -> (features, maps); see options.py.
        taxonomy: of the classes.
        decoder: fields of `Head` besides `nodes`.
    """

    encoder: nn.Module
    taxonomy: Taxonomy
    decoder: Any

    def setup(self):
        nodes = len(self.taxonomy.nodes)
        self.head = Head(nodes, **self.decoder)
        # The embedding of a node is a random vector, the same in every run; that of ROOT, the last
        # row, is zero.
        drawn = np.random.default_rng(0).normal(size=(nodes, self.head.embedding))
        drawn = np.pad(drawn / np.sqrt(self.head.embedding), ((0, 1), (0, 0)))
        self.table = jnp.asarray(drawn, jnp.float32)

    def __call__(self, images: Float[Array, 'b h w 3'], train: bool) -> Float[Array, 'b 1 v']:
        """Logits of the first level; initialises every parameter."""
        maps = self.encode(images, train)
        return self.follow(maps, jnp.zeros((images.shape[0], 1), jnp.int32))[0]

    def encode(
        self, images: Float[Array, 'b h w 3'], train: bool, keys: Keys = None
    ) -> Float[Array, 'b y x d']:
        """The last map in float32."""
        features, maps = self.encoder(images, train, keys)
        return (maps[-1] if maps else features[:, None, None]).astype(jnp.float32)

    def follow(
        self, maps: Float[Array, 'b y x d'], paths: Int[Array, 'b n'], keys: Keys = None
    ) -> tuple[Float[Array, 'b n v'], Float[Array, 'b n y x']]:
        """(logits, attention) of each level, given the nodes of a path before it."""
        state, found = self.head.begin(maps, keys), []
        nodes = jnp.pad(paths[:, :-1], ((0, 0), (1, 0)), constant_values=ROOT)
        for level in range(paths.shape[1]):
            before = self.table[nodes[:, level]]
            state, logits, alpha = self.head(maps, state, before, level, keys)
            found.append((logits, alpha))
        logits, alphas = (jnp.stack(part, 1) for part in zip(*found, strict=True))
        return logits, alphas

    def choose(
        self, maps: Float[Array, 'b y x d'], *, constrained: bool
    ) -> tuple[Int[Array, 'b n'], Float[Array, 'b v']]:
        """The likeliest node of each level after the one before, and logits of the last level.

        With `constrained` only children of the node before are chosen; others have -1e9.
        """
        allowed = jnp.asarray(self.taxonomy.allowed())
        state, found = self.head.begin(maps, None), []
        node = jnp.full(maps.shape[0], ROOT)
        for level in range(self.taxonomy.levels):
            state, logits, _ = self.head(maps, state, self.table[node], level, None)
            if constrained:
                logits = jnp.where(allowed[node], logits, -1e9)
            node = logits.argmax(-1)
            found.append((node, logits))
        return jnp.stack([nodes for nodes, _ in found], 1), found[-1][1]

    def chances(self, maps: Float[Array, 'b y x d'], *, constrained: bool) -> Float[Array, 'b c']:
        """log P(class) = sum over its path of log P(node | nodes before).

        Every path is followed. With `constrained` the children of a node have probabilities that
        add up to 1; else all nodes have, and the classes are normalised in the end.
        """
        tree, total = self.taxonomy, {}

        def visit(node: int, level: int, state: Array, chance: Array) -> None:
            before = jnp.broadcast_to(self.table[node], (maps.shape[0], self.table.shape[1]))
            state, logits, _ = self.head(maps, state, before, level, None)
            children = tree.children(node)
            if constrained:
                logs = jax.nn.log_softmax(logits[:, children])
            else:
                logs = jax.nn.log_softmax(logits)[:, children]
            for k, child in enumerate(children.tolist()):
                if level + 1 == tree.levels:
                    total[child] = chance + logs[:, k]
                else:
                    visit(child, level + 1, state, chance + logs[:, k])

        visit(ROOT, 0, self.head.begin(maps, None), jnp.zeros(maps.shape[0]))
        logs = jnp.stack([total[int(node)] for node in tree.paths[:, -1]], -1)
        return jax.nn.log_softmax(logs)
