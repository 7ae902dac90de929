"""One optimiser step of a whole stack of networks: the step that everything here trains with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from zoo.training.adversarial import Attack
from zoo.training.hyperparameters import Hyperparameters
from zoo.training.network import Buffers, StackNetwork
from zoo.training.objectives import Objective
from zoo.training.optimizers import Optimizer

# torch's GradScaler by default
_FIRST_SCALE, _GROWTH, _BACKOFF, _PATIENCE = 2.0**16, 2.0, 0.5, 2000
_HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Rule:
    """What every step of a stack has in common.

    Attributes:
        network: The networks.
        objective: What they minimise.
        optimizer: How.
        precision: Arithmetic of the forward pass.
        clip: Largest norm of each network's gradient `(n_models, 1)`, infinite where there is no bound; or
            nothing.
        attack: What moves the inputs before each step; or nothing.
    """

    network: StackNetwork
    objective: Objective
    optimizer: Optimizer
    precision: str
    clip: Float[Tensor, "models 1"] | None
    attack: Attack | None

    def of_rows(self, rows: slice) -> Rule:
        """Give the rule of some networks.

        Args:
            rows: Which.

        Returns:
            Their rule.
        """
        if self.clip is None and self.attack is None:
            return self
        clip = None if self.clip is None else self.clip[rows]
        return replace(self, clip=clip, attack=None if self.attack is None else self.attack.of_rows(rows))

    def first_slots(self, parameters: Float[Tensor, "models trained"]) -> dict[str, Tensor]:
        """Give what is kept between steps, as it is before the first.

        Args:
            parameters: `(n_models, n_trained)`.

        Returns:
            The optimiser's slots; in float16 also the scale of each network's loss, and its steps since the
            last change of it.
        """
        slots = {name: torch.zeros_like(parameters) for name in self.optimizer.slots}
        if self.precision == "float16":
            slots["loss_scale"] = torch.full_like(parameters[:, :1], _FIRST_SCALE)
            slots["good_steps"] = torch.zeros_like(parameters[:, :1])
        return slots


@dataclass
class Batch:
    """What one step sees.

    Attributes:
        x: Inputs `(n_models, batch, ...)`.
        y: Targets `(n_models, batch, ...)`.
        keys: Keys of the dropout layers `(n_layers, n_models)`; where the rule has an attack, that of its
            start below them.
    """

    x: Num[Tensor, "models batch ..."]
    y: Tensor
    keys: Int[Tensor, "layers models"]


class _Bound:
    """The networks with the weights of one step, as objectives see them."""

    def __init__(self, network: StackNetwork, tensors: dict[str, Tensor], precision: str) -> None:
        self._network, self._tensors = network, tensors
        self._half = _HALF.get(precision)

    def __call__(self, x: Tensor) -> Tensor:
        with self._arithmetic(x):
            return self._network.outputs(self._tensors, x)

    def along(self, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        with self._arithmetic(x):
            return self._network.along(self._tensors, x, directions)

    def _arithmetic(self, x: Tensor) -> torch.autocast:
        return torch.autocast(x.device.type, dtype=self._half, enabled=self._half is not None)


def training_losses(
    network: StackNetwork, objective: Objective, weights: Float[Tensor, "models params"], batch: Batch
) -> Float[Tensor, " models"]:
    """Give what training minimises, in training mode and full precision, without changing anything.

    Args:
        network: The networks.
        objective: What they minimise.
        weights: `(n_models, n_params)`.
        batch: What they see.

    Returns:
        `(n_models,)`.
    """
    parameters, buffers = network.split(weights)
    bound = _Bound(network, network.tensors(parameters, buffers, batch.keys), "float32")
    return objective(bound, batch.x, batch.y).detach()


class StepGradient:
    """The gradient of each network's loss on one batch, as often as the optimiser asks for it.

    The networks share no number, so the gradient of the summed loss holds each network's own. Autograd around
    `vmap` is faster here than `vmap` around `torch.func.grad`: its backward pass runs on plain batched
    kernels.

    Args:
        rule: What every step has in common.
        buffers: State of the networks; the first call of a step updates it, later ones do not.
        batch: The batch.
        scale: Factor of each network's loss `(n_models, 1)`, in float16.
    """

    def __init__(self, rule: Rule, buffers: Buffers, batch: Batch, scale: Tensor | None) -> None:
        self._rule, self._buffers, self._batch, self._scale = rule, buffers, batch, scale
        self.losses: Tensor | None = None
        self.overflowed: Bool[Tensor, "models 1"] | None = None

    def __call__(self, weights: Float[Tensor, "models trained"]) -> Float[Tensor, "models trained"]:
        """Differentiate.

        Args:
            weights: Parameters to differentiate at.

        Returns:
            Gradients, clipped where asked for.
        """
        leaf = weights.detach().requires_grad_()
        first = self.losses is None
        buffers = self._buffers if first else {name: b.clone() for name, b in self._buffers.items()}
        tensors = self._rule.network.tensors(leaf, buffers, self._batch.keys)
        bound = _Bound(self._rule.network, tensors, self._rule.precision)
        losses = self._rule.objective(bound, self._batch.x, self._batch.y)
        if first:
            self.losses = losses.detach()
        total = losses.sum() if self._scale is None else (losses * self._scale[:, 0]).sum()
        (gradient,) = torch.autograd.grad(total, leaf)
        if self._scale is not None:
            gradient = self._unscale(gradient, self._scale)
        return gradient if self._rule.clip is None else clipped(gradient, self._rule.clip)

    def _unscale(self, gradient: Tensor, scale: Tensor) -> Tensor:
        gradient = gradient / scale
        bad = ~torch.isfinite(gradient).all(dim=1, keepdim=True)
        self.overflowed = bad if self.overflowed is None else self.overflowed | bad
        return gradient


def clipped(
    gradient: Float[Tensor, "models trained"], bound: Float[Tensor, "models 1"]
) -> Float[Tensor, "models trained"]:
    """Scale gradients down to a largest norm, each by itself, as `torch.nn.utils.clip_grad_norm_` does.

    Args:
        gradient: `(n_models, n_trained)`.
        bound: Largest norm of each; infinite for none.

    Returns:
        `(n_models, n_trained)`.

    Example:
        >>> bounds = torch.tensor([[2.5], [float("inf")]])
        >>> clipped(torch.tensor([[3.0, 4.0], [3.0, 4.0]]), bounds).round(decimals=4)
        tensor([[1.5000, 2.0000],
                [3.0000, 4.0000]])
    """
    norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    factor = (bound / (norm + 1e-6)).clamp(max=1.0)
    return gradient * torch.where(torch.isinf(bound), 1.0, factor)  # a norm may be infinite too


def take_step(
    rule: Rule,
    parameters: Float[Tensor, "models trained"],
    state: tuple[Buffers, Mapping[str, Tensor]],
    batch: Batch,
    hyper: Hyperparameters,
) -> Float[Tensor, " models"]:
    """Take one step: gradient, update, and in float16 the scale of each network's loss.

    Args:
        rule: What every step has in common.
        parameters: `(n_models, n_trained)`, changed.
        state: Buffers and slots, changed.
        batch: The batch.
        hyper: One value a network, or one a parameter.

    Returns:
        The losses `(n_models,)` before the step.
    """
    buffers, slots = state
    own = {name: slots[name] for name in rule.optimizer.slots}
    scale = slots.get("loss_scale")
    if rule.attack is not None:
        batch = _attacked(rule, parameters, buffers, batch, scale)
    gradient = StepGradient(rule, buffers, batch, scale)
    changed = [parameters, *own.values()]
    before = [tensor.clone() for tensor in changed] if scale is not None else []
    rule.optimizer.step(parameters, own, gradient, hyper)
    if scale is not None and gradient.overflowed is not None:
        for tensor, old in zip(changed, before, strict=True):
            tensor.copy_(torch.where(gradient.overflowed, old, tensor))
        _adapt_scale(scale, slots["good_steps"], gradient.overflowed)
    assert gradient.losses is not None
    return gradient.losses


def _attacked(rule: Rule, parameters: Tensor, buffers: Buffers, batch: Batch, scale: Tensor | None) -> Batch:
    """Move the inputs to where the losses are higher, with the dropout of this step and in training mode."""
    assert rule.attack is not None
    keys, start = batch.keys[:-1], batch.keys[-1]

    def losses(x: Tensor) -> Tensor:
        # statistics are of what training sees, not of what an attack tries
        untouched = {name: tensor.clone() for name, tensor in buffers.items()}
        tensors = rule.network.tensors(parameters, untouched, keys)
        found = rule.objective(_Bound(rule.network, tensors, rule.precision), x, batch.y)
        return found if scale is None else found * scale[:, 0]  # else float16 loses small slopes

    return Batch(rule.attack.moved(batch.x, start, losses), batch.y, keys)


def _adapt_scale(scale: Tensor, good_steps: Tensor, overflowed: Tensor) -> None:
    """Halve the scale of a network that overflowed, double that of one that has not for long."""
    good_steps.add_(1).masked_fill_(overflowed, 0)
    ripe = good_steps == _PATIENCE
    factor = torch.where(overflowed, _BACKOFF, torch.where(ripe, _GROWTH, 1.0))
    scale.mul_(factor)
    good_steps.masked_fill_(ripe, 0)
