"""Classes as paths through a taxonomy, said level by level (`models/hierarchy.py`): one phase.

Barata et al. 2019, "Deep attention model for the hierarchical diagnosis of skin lesions", and 2021,
"Explainable skin lesion diagnosis using taxonomies": the mean over the levels of the cross-entropy
of a node, which the network tells after the true nodes before it, plus

    path   1 - cos(sum over levels of one-hot(node), sum over levels of softmax(logits)).

The schemes of `schemes.py` say how much an image counts (the published code computes class weights,
but trains without). Class weights act on each level's cross-entropy and count the training images
below its nodes. A curriculum ranks by the mean over the levels, and what it leaves out does not
count in the path term either. `history.py` keeps the weight at the last level.

Departures: label embeddings are fixed random vectors, where theirs come from the co-occurrence of
labels; a node is one of a whole path, so that `benign` below two parents is two nodes; predictions
follow every path, where theirs take the likeliest node of each level (`decoding='greedy'`) of all
nodes (`constrained=False`); a prediction is always a class, where theirs may then end elsewhere.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from skinjax import taxonomy as trees
from skinjax.data.records import DataSet, choices
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import (
    Batch,
    Findings,
    Moment,
    Objective,
    Output,
    Phase,
    Variables,
)
from skinjax.models import attention, hierarchy
from skinjax.models.layers import fold
from skinjax.objectives import history, levels, network, rule, schemes, weights
from skinjax.predictions import Predictions

DEFAULTS: dict[str, Any] = {
    # Names of nodes to subtrees, ending in tuples of classes; empty: the classes alone.
    'taxonomy': {},
    'hidden': 512,  # width of each half of the state
    'embedding': 50,  # of a node, as input of the next level
    'attention_dropout': 0.2,  # within the spatial attention; elsewhere it is model.dropout
    'channel_attention': 0,  # its ratio; 0 for none
    'context': False,  # logits from state and context; published as the second variant
    'path_weight': 1.0,  # of the path term
    'gamma': 0.0,  # of the focal loss in place of the cross-entropy
    'decoding': 'paths',  # or greedy: the likeliest node of each level
    'constrained': True,  # a node is followed by its children alone
    **schemes.DEFAULTS,  # `weights` and its options, without changes of the logits
}
HEAD = network.ENCODER + 1  # keeps the randomness of the head apart
_DECODER = ('hidden', 'embedding', 'attention_dropout', 'channel_attention', 'context')


@dataclasses.dataclass(frozen=True)
class Network(network.Bound):
    """The network bound to its config."""

    model: hierarchy.Hierarchical
    layered: ClassVar[bool] = False

    @property
    def taxonomy(self) -> trees.Taxonomy:
        """Over the classes of the data."""
        return self.model.taxonomy

    def forward(
        self, variables: Variables, batch: Batch, moment: Moment
    ) -> tuple[Float[Array, 'b l v'], Int[Array, 'b l'], Variables]:
        """In training: logits of each level after the true nodes before; paths; new state."""
        maps, state = self.encode(variables, batch['image'], moment)
        paths = self.paths(batch['label'])
        keys = fold(moment.keys, HEAD)
        return self.apply(variables, maps, paths, keys, method='follow')[0], paths, state

    def paths(self, labels: Int[Array, ' b']) -> Int[Array, 'b l']:
        """Nodes of each class; of the first for labels below 0."""
        return jnp.asarray(self.taxonomy.paths)[jnp.maximum(labels, 0)]

    def predict(self, variables: Variables, images: Array) -> dict[str, Array]:
        """Logits of the classes (log probabilities; one column for two), the mean of the last map,
        and the nodes of the likeliest path that ignores the tree, if it has several levels.
        """
        options, tree = self.config.objective, self.taxonomy
        maps = self.apply(variables, self.images(images), False, method='encode')
        decode = functools.partial(self.apply, variables, maps)
        if options.decoding == 'paths':
            logs = decode(constrained=options.constrained, method='chances')
        else:
            logits = decode(constrained=options.constrained, method='choose')[1]
            logs = jax.nn.log_softmax(logits[:, tree.paths[:, -1]])
        if logs.shape[1] == 2:
            logs = logs[:, 1:] - logs[:, :1]
        out = {'logits': logs, 'features': maps.mean((1, 2))}
        if tree.levels > 1:
            free = decode(constrained=False, method='choose')[0]
            out |= {f'column:{levels.FREE}{k + 1}': free[:, k] for k in range(tree.levels)}
        return out

    def scores(self, variables: Variables, encoded: Array) -> Float[Array, 'b c']:
        """Of each class the sum over its path of the logit of each node after those before it."""

        def score(path):
            paths = jnp.broadcast_to(path, (len(encoded), len(path)))
            logits, _ = self.apply(variables, encoded, paths, method='follow')
            return jnp.take_along_axis(logits, paths[..., None], -1).sum((1, 2))

        return jnp.stack([score(path) for path in jnp.asarray(self.taxonomy.paths)], -1)

    def looked(
        self, variables: Variables, images: Array, called: Int[Array, ' b']
    ) -> Float[Array, 'b l y x']:
        """Attention of each level on the way to the called class."""
        maps = self.apply(variables, self.images(images), False, method='encode')
        return self.apply(variables, maps, self.paths(called), method='follow')[1]


def create(config: Any, data: DataSet) -> Network:
    """The network of a config for the classes of `data`.

    Raises:
        ValueError: an encoder with dense layers, a tree that does not fit the classes, or an
            unknown option.
    """
    options = config.objective
    attention.needs_map(config.model, 'objective hierarchical')
    if options.decoding not in ('paths', 'greedy'):
        raise ValueError(
            f'config.objective.decoding is {options.decoding!r}; '
            f'{choices(options.decoding, ("paths", "greedy"))}'
        )
    decoder = {name: options[name] for name in _DECODER} | {'dropout': config.model.dropout}
    encoder = attention.encoder(config.model)
    return Network(hierarchy.Hierarchical(encoder, _tree(config, data), decoder), config)


def _tree(config: Any, data: DataSet) -> trees.Taxonomy:
    given = config.objective.taxonomy
    try:
        return trees.read(given.to_dict() if isinstance(given, ConfigDict) else given, data.classes)
    except ValueError as error:
        if len(data.classes) == 2 and (positive := config.data.get('positive')):
            raise ValueError(
                f'{error}; config.data.positive = {positive!r} has left two classes of the data: '
                "'' keeps all"
            ) from None
        raise


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """Cross-entropy of every level and the path term, updating encoder and head.

    Raises:
        ValueError: as `create` and `rule.Rule`; weights that act on logits; a class without
            training images.
    """
    net, counted = create(config, data), rule.Rule(config, data, steps)
    if counted.scheme.logits:
        raise ValueError(
            f'config.objective.weights is {config.objective.weights!r}: {counted.scheme.logits} '
            'acts on the logits of classes, objective hierarchical has those of nodes: choose '
            f'among {", ".join((*weights.CLASS_WEIGHTS, *schemes.CURRICULA))}'
        )
    loss = _loss(net, counted, level_weights(counted, net.taxonomy, data))

    def conclude(variables: Variables, tables: Mapping[str, Predictions], mesh: Mesh) -> Findings:
        found = levels.findings(net, data, variables, tables, mesh)
        more = history.findings(data, variables, tables, mesh)
        return Findings({**found.results, **more.results}, {**found.files, **more.files})

    phase = Phase('main', loss, {'main': network.MAIN_GROUPS}, update=history.update)
    extra = {history.NAME: history.empty(counted.rows)}
    return net.objective({'main': net.main_optimizer(steps)}, (phase,), extra, conclude)


def _loss(
    net: Network, counted: rule.Rule, tables: Sequence[Float[np.ndarray, ' v']]
) -> Callable[[Variables, Batch, Moment], Output]:
    """That of the only phase; `tables` are the weights of the nodes of each level."""
    count = len(tables)

    def loss(variables, batch, moment):
        logits, paths, state = net.forward(variables, batch, moment)
        each = [counted.losses(logits[:, k], paths[:, k]) for k in range(count)]
        ranks = jnp.stack([ranks for _, ranks in each]).mean(0)
        kept, decided = counted.choose(batch, ranks, moment, variables[history.NAME])
        own = [counted.own(tables[k], paths[:, k], batch, moment) for k in range(count)]
        terms = {
            f'level_{k + 1}': dataclasses.replace(
                counted.reduce(each[k][0], own[k], kept, batch), scale=1 / count
            )
            for k in range(count)
        }
        found = history.sums(
            batch,
            weights=own[-1] * kept,
            losses=ranks,
            decided=decided,
            kept=kept,
            total=lax.stop_gradient(terms[f'level_{count}'].weights.sum()),
            rows=counted.rows,
        )
        everyone = batch['valid'].astype(kept.dtype)
        path = counted.reduce(path_loss(logits, paths), everyone, kept, batch)
        terms['path'] = dataclasses.replace(path, scale=net.config.objective.path_weight)
        # What `update` replaces is left out: the engine takes the mean of the rest over devices.
        state = {name: value for name, value in state.items() if name != history.NAME}
        return Output({**terms, **counted.shown(own[-1], kept, batch)}, state, sums=found)

    return loss


def restored(config: Any, data: DataSet) -> Objective:
    """The network of a finished run, to predict with."""
    net = create(config, data)
    return net.objective({}, (), conclude=functools.partial(levels.findings, net, data))


def path_loss(logits: Float[Array, 'b l v'], paths: Int[Array, 'b l']) -> Float[Array, ' b']:
    """1 - the cosine of the true and the predicted path, each summed over its levels: 0 to 1."""
    found = jax.nn.softmax(logits).sum(1)
    true = jax.nn.one_hot(paths, logits.shape[-1]).sum(1)
    return 1 - (found * true).sum(-1) / jnp.sqrt((found**2).sum(-1) * (true**2).sum(-1))


def level_weights(
    counted: rule.Rule, tree: trees.Taxonomy, data: DataSet
) -> list[Float[np.ndarray, ' v']]:
    """For each level the weight of its nodes; 0 for nodes of other levels.

    Raises:
        ValueError: classes without training images, for which no node can be learned.
    """
    labels = data.splits['train'].labels
    counts = weights.class_counts(labels, data.classes, 'objective hierarchical')
    tables = []
    for nodes in tree.paths.T:
        below = np.bincount(nodes, counts, minlength=len(tree.nodes)).astype(int)
        table, level = np.zeros(len(tree.nodes)), np.unique(nodes)
        table[level] = counted.class_table(below[level])
        tables.append(table)
    return tables
