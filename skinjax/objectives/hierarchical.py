"""Classes as paths through a taxonomy, said level by level (`models/hierarchy.py`): one phase.

Barata et al. 2019, "Explainable skin lesion diagnosis using taxonomies" (2020): the mean over the
levels of the cross-entropy of a node, which the network tells after the true nodes before it, plus

    path   1 - cos(sum over levels of one-hot(node), sum over levels of softmax(logits)).

Class weights act on each level's cross-entropy and count the training images below its nodes (the
published code computes such weights, but trains without). Departures: label embeddings are fixed
random vectors, where theirs come from the co-occurrence of labels; a node is one of a whole path,
so that `benign` below two parents is two nodes; predictions follow every path, where theirs take
the likeliest node of each level (`decoding='greedy'`) of all nodes (`constrained=False`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from skinjax import taxonomy as trees
from skinjax.data.augment_device import normalize
from skinjax.data.records import DataSet, choices
from skinjax.engine import optimizers
from skinjax.engine.mesh import Mesh
from skinjax.engine.objective import (
    Batch,
    Findings,
    Loss,
    Moment,
    Objective,
    Optimizer,
    Output,
    Phase,
    Variables,
)
from skinjax.models import attention, hierarchy
from skinjax.models.layers import fold
from skinjax.objectives import levels, losses, network, weights
from skinjax.predictions import Predictions

DEFAULTS: dict[str, Any] = {
    # Names of nodes to subtrees, ending in tuples of classes; empty: the classes alone.
    'taxonomy': {},
    'hidden': 512,  # width of each half of the state
    'embedding': 50,  # of a node, as input of the next level
    'pixel_dropout': 0.2,  # within the attention; elsewhere it is model.dropout
    'channels': 0,  # ratio of the channel attention; 0 for none
    'context': False,  # logits from state and context; published as the second variant
    'path': 1.0,  # weight of the path term
    'weights': '',  # of the nodes of a level: '' | cb | es, see weights.py
    'gamma': 0.0,  # of the focal loss in place of the cross-entropy
    'decoding': 'paths',  # or greedy: the likeliest node of each level
    'constrained': True,  # a node is followed by its children alone
}
HEAD = network.ENCODER + 1  # keeps the randomness of the head apart


@dataclasses.dataclass(frozen=True)
class Network:
    """The network bound to its config and tree.

    Attributes:
        model: see models/hierarchy.py.
        config: of the run.
        taxonomy: over the classes of the data.
        table: label embedding of each node.
    """

    model: hierarchy.Hierarchical
    config: Any
    taxonomy: trees.Taxonomy
    table: Float[np.ndarray, 'v e']

    def apply(self, variables: Variables, *arguments: Any, method: str) -> Any:
        """A method of the model in evaluation mode."""
        known = {k: v for k, v in variables.items() if k in ('params', 'batch_stats')}
        return self.model.apply(known, *arguments, method=method)

    def images(self, images: Array) -> Float[Array, 'b h w 3']:
        """uint8 images -> normalised float32."""
        return normalize(images, self.config.data.mean, self.config.data.std)

    def before(self, paths: Int[Array, 'b l']) -> Float[Array, 'b l e']:
        """Embedding of the node before each of a path; zero before the first."""
        embedded = jnp.asarray(self.table)[paths[:, :-1]]
        return jnp.pad(embedded, ((0, 0), (1, 0), (0, 0)))

    def forward(
        self, variables: Variables, batch: Batch, moment: Moment
    ) -> tuple[Float[Array, 'b l v'], Int[Array, 'b l'], Variables]:
        """In training: logits of each level after the true nodes before; paths; new statistics."""
        maps, new = self.model.apply(
            variables,
            self.images(batch['image']),
            True,
            fold(moment.keys, network.ENCODER),
            method='encode',
            mutable=['batch_stats'],
        )
        paths = jnp.asarray(self.taxonomy.paths)[jnp.maximum(batch['label'], 0)]
        found: Any = self.model.apply(
            variables, maps, self.before(paths), fold(moment.keys, HEAD), method='follow'
        )
        return found[0], paths, dict(new)

    def predict(self, variables: Variables, images: Array) -> dict[str, Array]:
        """Logits of the classes (log probabilities; one column for two), the mean of the last map,
        and the nodes of the likeliest path that ignores the tree, if it has several levels.
        """
        options, tree = self.config.objective, self.taxonomy
        maps = self.apply(variables, self.images(images), False, method='encode')
        given = maps, tree, jnp.asarray(self.table)
        if options.decoding == 'paths':
            logs = self.apply(variables, *given, options.constrained, method='chances')
        else:
            logits = self.apply(variables, *given, options.constrained, method='choose')[1]
            logs = jax.nn.log_softmax(logits[:, tree.paths[:, -1]])
        if logs.shape[1] == 2:
            logs = logs[:, 1:] - logs[:, :1]
        out = {'logits': logs, 'features': maps.mean((1, 2))}
        if tree.levels > 1:
            free = self.apply(variables, *given, False, method='choose')[0]
            out |= {f'column:{levels.FREE}{k + 1}': free[:, k] for k in range(tree.levels)}
        return out

    def looked(self, variables: Variables, images: Array) -> Float[Array, 'b l y x']:
        """Attention of each level on the way to the likeliest class."""
        logits = self.predict(variables, images)['logits']
        binary = logits.shape[1] == 1
        called = (logits[:, 0] > 0).astype(jnp.int32) if binary else logits.argmax(-1)
        maps = self.apply(variables, self.images(images), False, method='encode')
        before = self.before(jnp.asarray(self.taxonomy.paths)[called])
        return self.apply(variables, maps, before, method='follow')[1]

    def objective(self, opts: Mapping[str, Optimizer], phases: tuple[Phase, ...]) -> Objective:
        """An Objective over this network."""

        def init(key, batch) -> Any:
            return self.model.init(key, self.images(batch['image']), False)

        return Objective(init, opts, phases, self.predict)


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
    tree = trees.read(options.taxonomy.to_dict(), data.classes)
    head = {name: options[name] for name in ('hidden', 'embedding', 'channels', 'context')}
    head |= {'dropout': config.model.dropout, 'pixel_dropout': options.pixel_dropout}
    head['nodes'] = len(tree.nodes)
    model = hierarchy.Hierarchical(attention.encoder(config.model), head)
    table = np.random.default_rng(0).normal(size=(len(tree.nodes), options.embedding))
    return Network(model, config, tree, (table / np.sqrt(options.embedding)).astype(np.float32))


def build(config: Any, data: DataSet, steps: int) -> Objective:
    """Cross-entropy of every level and the path term, updating encoder and head.

    Raises:
        ValueError: as `create`; unknown weights; a class without training images.
    """
    net, options = create(config, data), config.objective
    tables = level_weights(options.weights, net.taxonomy, data)

    def loss(variables, batch, moment):
        logits, paths, state = net.forward(variables, batch, moment)
        valid, terms = batch['valid'].astype(logits.dtype), {}
        for k in range(net.taxonomy.levels):
            values = losses.focal(logits[:, k], paths[:, k], options.gamma)
            own = jnp.asarray(tables[k])[paths[:, k]]
            terms[f'level_{k + 1}'] = Loss(values, own * valid, 1 / net.taxonomy.levels)
        terms['path'] = Loss(path_loss(logits, paths), valid, options.path)
        return Output(terms, state)

    opts = {'main': optimizers.build(config.optimizer, network.MAIN_GROUPS, steps)}
    phases = (Phase('main', loss, {'main': network.MAIN_GROUPS}),)
    return _concluded(net, net.objective(opts, phases), data)


def restored(config: Any, data: DataSet) -> Objective:
    """The network of a finished run, to predict with."""
    net = create(config, data)
    return _concluded(net, net.objective({}, ()), data)


def path_loss(logits: Float[Array, 'b l v'], paths: Int[Array, 'b l']) -> Float[Array, ' b']:
    """1 - the cosine of the true and the predicted path, each summed over its levels: 0 to 1."""
    found = jax.nn.softmax(logits).sum(1)
    true = jax.nn.one_hot(paths, logits.shape[-1]).sum(1)
    return 1 - (found * true).sum(-1) / jnp.sqrt((found**2).sum(-1) * (true**2).sum(-1))


def level_weights(name: str, tree: trees.Taxonomy, data: DataSet) -> list[Float[np.ndarray, ' v']]:
    """For each level the weight of its nodes by scheme `name`; 0 for nodes of other levels.

    Raises:
        ValueError: unknown scheme, or a class without training images.
    """
    if name not in ('', *weights.CLASS_WEIGHTS):
        raise ValueError(
            f'config.objective.weights is {name!r}; {choices(name, ("", *weights.CLASS_WEIGHTS))}'
        )
    labels = data.splits['train'].labels
    counts = np.bincount(labels[labels >= 0], minlength=len(data.classes))
    if not counts.all():
        absent = data.classes[int(counts.argmin())]
        raise ValueError(
            f'class {absent!r} has no training images, so that no node can be learned for it: '
            'leave it out of the data and of the taxonomy'
        )
    tables = []
    for nodes in tree.paths.T:
        below = np.bincount(nodes, counts, minlength=len(tree.nodes))
        table = np.zeros(len(tree.nodes), np.float32)
        level = np.unique(nodes)
        table[level] = weights.class_table(below[level].astype(int), name)
        tables.append(table)
    return tables


def _concluded(net: Network, objective: Objective, data: DataSet) -> Objective:
    def conclude(variables: Variables, tables: Mapping[str, Predictions], mesh: Mesh) -> Findings:
        return levels.findings(net, data, variables, tables, mesh)

    return dataclasses.replace(objective, conclude=conclude)
