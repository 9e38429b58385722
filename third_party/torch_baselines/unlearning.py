"""Bias unlearning in two phases per batch, as an ordinary PyTorch training step.

Bevan & Atapour-Abarghouei 2022, "Skin Deep Unlearning" and "Detecting Melanoma Fairly", after
LNTL (Kim et al. 2019), TABE (Alvi et al. 2018) and gradient reversal (Ganin & Lempitsky 2015).

    phase 1   main loss + entropy and confusion of the bias heads  -> encoder, main head
    phase 2   cross-entropy of the bias heads, features recomputed -> bias heads; and, reversed,
              encoder

The published program departs from this description in six places; `COMPAT` names them, and a
`Trainer` that is given the name behaves as published there.
"""

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from third_party.torch_baselines.resnet import BiasHead, Classifier

COMPAT = {
    'random_target': 'the confusion target is drawn from U(0, 1), not 1/K',
    'double_step': 'a second SGD at the rate of the bias head repeats the encoder step of phase 1',
    'help_head': 'in phase 2 of TABE the encoder learns to help the bias head',
    'phantom_step': 'gradients are zeroed, not dropped: the main head moves on momentum in phase 2',
    'double_stats': 'running statistics of the encoder advance in both phases',
    'shared_heads': 'with two bias heads, all terms of phase 1 look at the first',
}


@dataclass(frozen=True)
class Method:
    """How one bias variable is unlearned; the defaults are the published ones of CLGR.

    Attributes:
        entropy: weight of sum_k p_k log p_k in phase 1 (LNTL).
        confusion: weight of -sum_k q_k log p_k, q = 1/K, in phase 1 (TABE).
        reversal: what the encoder's gradient is multiplied by, negated, in phase 2.
        cap: examples whose cross-entropy has reached cap * log2 K push the encoder no further;
            0 for none.
        weights: [classes or 1, values] weights in the cross-entropy; None for equal ones. A class
            (row) of zeros takes no part in unlearning.
        lr, momentum, clip: of the bias head's SGD; `clip` is the largest norm of its gradient,
            0 for none.
    """

    entropy: float = 0.0
    confusion: float = 0.03
    reversal: float = 0.1
    cap: float = 0.0
    weights: Tensor | None = None
    lr: float = 3e-3
    momentum: float = 0.9
    clip: float = 0.0


METHODS = {
    'lntl': Method(entropy=0.01, confusion=0.0, lr=3e-4),
    'tabe': Method(reversal=0.0),
    'clgr': Method(),
}


class GradientReversal(torch.autograd.Function):
    """The identity; its backward pass multiplies by -scale."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradients[0], None


def inverse_count_weights(counts: Tensor) -> Tensor:
    """w = (1/n) / sum(1/n) over the cells of [classes or 1, values] that occur.

    Classes in which fewer than two values occur get weight 0.
    """
    occurs = counts > 0
    usable = occurs & (occurs.sum(1, keepdim=True) > 1)
    inverse = torch.where(usable, 1.0 / counts.clamp(min=1).double(), 0.0)
    return (inverse / inverse.sum()).float()


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (weights * values).sum() / weights.sum().clamp(min=1e-12)


@contextlib.contextmanager
def batch_statistics_only(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """`layers` normalise by their batch and leave their running averages alone."""
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


class Trainer:
    """One model, its optimizers, and the training step of every method.

    Without bias variables it is the baseline, with one LNTL, TABE or CLGR, with two a double
    head. Learning rates can be changed between steps by any scheduler over `main_optimizer` and
    `head_optimizers`. The model must be in training mode.

    Args:
        model: has a bias head for every name in `methods`.
        methods: by the name of the bias variable.
        lr, momentum, weight_decay, clip: of the SGD over encoder and main head.
        head_steps: updates of the bias heads per batch, all on the same features.
        compat: names in COMPAT, or 'sdu' for all.
        fused: use the optimizer that PyTorch compiled as one operation.

    Raises:
        ValueError: unknown compat name, a bias variable without a head, or clipping together
            with 'double_step'.
    """

    def __init__(
        self,
        model: Classifier,
        methods: Mapping[str, Method] | None = None,
        *,
        lr: float = 3e-4,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        clip: float = 0.0,
        head_steps: int = 1,
        compat: Collection[str] = (),
        fused: bool = False,
    ):
        self.model, self.methods = model, dict(methods or {})
        self.compat = frozenset(COMPAT) if 'sdu' in compat else frozenset(compat)
        self.clip, self.head_steps = clip, head_steps
        self._check()
        encoder, head = [*model.encoder.parameters()], [*model.head.parameters()]
        self.encoder_parameters = encoder
        self.main_optimizer = torch.optim.SGD(
            encoder + head, lr, momentum, weight_decay=weight_decay, fused=fused
        )
        self.head_optimizers = {
            name: torch.optim.SGD(self._head(name).parameters(), m.lr, m.momentum)
            for name, m in self.methods.items()
        }
        self.second_optimizer = None
        if 'double_step' in self.compat and any(m.confusion for m in self.methods.values()):
            first = next(iter(self.methods.values()))
            self.second_optimizer = torch.optim.SGD(encoder, first.lr, first.momentum)
        self.weights = {name: self._weights(name) for name in self.methods}
        self.usable = {name: (w.sum(1) > 0).float() for name, w in self.weights.items()}
        norms = {
            part: [m for m in part.modules() if isinstance(m, _BatchNorm)]
            for part in (model.encoder, model.bias_heads)
        }
        self.encoder_norms, self.head_norms = norms[model.encoder], norms[model.bias_heads]

    def _check(self) -> None:
        if unknown := self.compat - set(COMPAT):
            raise ValueError(f'unknown compat {sorted(unknown)}: choose from {", ".join(COMPAT)}')
        if missing := set(self.methods) - set(self.model.bias_heads):
            raise ValueError(f'the model has no bias head for {sorted(missing)}')
        if 'double_step' in self.compat and self.clip:
            raise ValueError("compat 'double_step' shares one gradient: use it with clip=0")

    def _head(self, name: str) -> BiasHead:
        head = self.model.bias_heads[name]
        assert isinstance(head, BiasHead)
        return head

    def _weights(self, name: str) -> Tensor:
        shape, weights = self._head(name).shape, self.methods[name].weights
        if weights is None:
            weights = torch.ones(shape)
        if tuple(weights.shape) != shape:
            raise ValueError(
                f'weights of {name!r} have shape {tuple(weights.shape)}, its head gives {shape}'
            )
        return weights.to(self.encoder_parameters[0].device)

    def step(
        self,
        images: Tensor,
        labels: Tensor,
        bias: Mapping[str, Tensor] | None = None,
        *,
        strength: float = 1.0,
        targets: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Train on one batch; returns the losses, detached and still on the device.

        Args:
            images: uint8 [b, 3, h, w].
            labels: int64 [b].
            bias: variable -> int64 [b]; -1 where the value is unknown.
            strength: factor of entropy, confusion and reversal, for a warm-up.
            targets: variable -> [b, values] confusion targets for 'random_target', in place of
                fresh draws.
        """
        losses = self._main_phase(images, labels, strength, targets or {})
        if self.methods:
            losses |= self._bias_phase(images, labels, bias or {}, strength)
        return losses

    def _main_phase(
        self, images: Tensor, labels: Tensor, strength: float, targets: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        features = self.model.encode(images)
        losses = {'main': main_loss(self.model.classify(features), labels)}
        total = losses['main']
        log_p = {
            name: F.log_softmax(self._logits(name, features, labels), 1) for name in self.methods
        }
        for name, method in self.methods.items():
            seen = log_p[next(iter(log_p)) if 'shared_heads' in self.compat else name]
            usable = self._of_class(self.usable[name], labels)
            if method.entropy:
                value = weighted_mean((seen.exp() * seen).sum(1), usable)
                total = total + strength * method.entropy * value
                losses[f'{name}_entropy'] = value
            if method.confusion:
                value = weighted_mean(self._confusion(seen, targets.get(name)), usable)
                total = total + strength * method.confusion * value
                losses[f'{name}_confusion'] = value
        self.main_optimizer.zero_grad()
        total.backward()
        update(self.main_optimizer, self.clip)
        if self.second_optimizer is not None:
            self.second_optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    def _confusion(self, log_p: Tensor, target: Tensor | None) -> Tensor:
        if 'random_target' not in self.compat:
            return -log_p.mean(1)
        if target is None:
            target = torch.rand_like(log_p)
        return -(target * log_p).sum(1)

    def _bias_phase(
        self, images: Tensor, labels: Tensor, bias: Mapping[str, Tensor], strength: float
    ) -> dict[str, Tensor]:
        reached = [n for n, m in self.methods.items() if m.reversal or 'help_head' in self.compat]
        still = () if 'double_stats' in self.compat else self.encoder_norms
        with batch_statistics_only(still), torch.set_grad_enabled(bool(reached)):
            features = self.model.encode(images)
        fixed = features.detach()
        with batch_statistics_only(self.head_norms):
            if reached:
                pushes = [self._push(n, features, labels, bias[n], strength) for n in reached]
                # `zero_grad` of 2021 left zeros, with which SGD still moves on its momentum.
                self.main_optimizer.zero_grad(set_to_none='phantom_step' not in self.compat)
                torch.stack(pushes).sum().backward(inputs=self.encoder_parameters)
                update(self.main_optimizer, self.clip)
            losses = {}
            for _ in range(self.head_steps):
                for name in self.methods:
                    losses[name] = self._head_step(name, fixed, labels, bias[name])
        return losses

    def _push(
        self, name: str, features: Tensor, labels: Tensor, values: Tensor, strength: float
    ) -> Tensor:
        """The loss of a bias head as the encoder is to see it."""
        method = self.methods[name]
        if method.reversal:
            features = GradientReversal.apply(features, strength * method.reversal)
        loss, weights = self._cross_entropy(name, features, labels, values)
        if method.cap:
            cap = method.cap * math.log2(self.weights[name].shape[-1])
            loss = loss * (loss.detach() < cap)
        return weighted_mean(loss, weights)

    def _head_step(self, name: str, features: Tensor, labels: Tensor, values: Tensor) -> Tensor:
        loss = weighted_mean(*self._cross_entropy(name, features, labels, values))
        optimizer = self.head_optimizers[name]
        optimizer.zero_grad()
        loss.backward()
        update(optimizer, self.methods[name].clip)
        return loss.detach()

    def _cross_entropy(
        self, name: str, features: Tensor, labels: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and weight of every example; weight 0 where the value is unknown."""
        known = values.clamp(min=0)
        loss = F.cross_entropy(self._logits(name, features, labels), known, reduction='none')
        weights = self._of_class(self.weights[name], labels)
        return loss, weights.gather(1, known[:, None]).squeeze(1) * (values >= 0)

    def _logits(self, name: str, features: Tensor, labels: Tensor) -> Tensor:
        """[b, values] logits of each example's own class, or the only ones."""
        logits = self._head(name)(features)
        if logits.shape[1] == 1:
            return logits.squeeze(1)
        return logits.take_along_dim(labels[:, None, None], 1).squeeze(1)

    def _of_class(self, table: Tensor, labels: Tensor) -> Tensor:
        """The row of a table for every example's class, or its only row for all."""
        return table[labels] if len(table) > 1 else table.expand(len(labels), *table.shape[1:])


def main_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of one logit, or cross-entropy of several; mean over the batch."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.to(logits.dtype))
    return F.cross_entropy(logits, labels)


def update(optimizer: torch.optim.Optimizer, clip: float = 0.0) -> None:
    """Step every parameter that has a gradient, after clipping their common norm."""
    if clip:
        parameters = [p for group in optimizer.param_groups for p in group['params']]
        nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
