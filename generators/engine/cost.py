"""What training costs in operations and memory, from one small pass of the real network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from generators.grid import Stack
from zoo import architectures, datasets
from zoo.errors import SpecificationError
from zoo.spec import ArchitectureSpecification, DataShape
from zoo.training import optimizers

_PROBE_ITEMS = 4
_ATTACK_BYTES = 64
"""Most that an attack holds for each number of its inputs: draws, bounds, the moved input and its slope."""
GATHERED_BYTES = 64 << 20
"""Most that the batches of an epoch take beside the data, for all rows together."""


@dataclass(frozen=True)
class ItemCost:
    """What one training item costs one network.

    Attributes:
        flops: Floating-point operations of forward and backward pass.
        bytes: What the forward pass keeps for the backward pass, float32.
    """

    flops: float
    bytes: float


@lru_cache(maxsize=1024)
def _item_cost(architecture_json: str, shape: DataShape) -> ItemCost:
    architecture = ArchitectureSpecification.model_validate_json(architecture_json)
    counter = FlopCounterMode(display=False)
    with torch.device("meta"):  # shapes alone: a network that no memory holds is measured too
        module = architectures.build(architecture, shape).train()
        own = {tensor.untyped_storage()._cdata for tensor in module.state_dict().values()}
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            module(_some_inputs(_PROBE_ITEMS, shape)).sum().backward()
    saved = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)
    return ItemCost(counter.get_total_flops() / _PROBE_ITEMS, saved / _PROBE_ITEMS)


def _some_inputs(items: int, shape: DataShape) -> Tensor:
    dtype = torch.float32 if shape.tokens is None else torch.int64
    return torch.zeros(items, *shape.inputs, dtype=dtype)


def check_last_batch(stack: Stack) -> None:
    """Refuse a batch of one item where a network normalises over the batch.

    Args:
        stack: The stack.

    Raises:
        SpecificationError: The network cannot be trained on its smallest batch.
    """
    spec = stack.models[0].spec
    if min(stack.items, spec.training.batch_size) > 1 and stack.items % spec.training.batch_size != 1:
        return
    shape = datasets.shape(spec.dataset)
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            architectures.build(spec.architecture, shape).train()(_some_inputs(1, shape))
    except ValueError as error:
        raise SpecificationError(
            f"{stack.models[0].model_id}: {stack.items} items in batches of {spec.training.batch_size} leave "
            f"a batch of one, on which this network cannot be trained ({error}); take another batch size or "
            "share of the items"
        ) from None


def item_cost(stack: Stack) -> ItemCost:
    """Measure what one item costs one network of a stack.

    Args:
        stack: The stack.

    Returns:
        Its cost.
    """
    spec = stack.models[0].spec
    return _item_cost(spec.architecture.model_dump_json(), datasets.shape(spec.dataset))


def flops_per_epoch(stack: Stack) -> float:
    """Estimate the floating-point operations of one network of a stack in one epoch.

    Args:
        stack: The stack.

    Returns:
        Those of forward and backward pass over its items, as often as its optimiser asks for gradients, and
        once for each step of an attack, which differentiates by the inputs alone: that is a little less.
    """
    training = stack.models[0].spec.training
    gradients = optimizers.get(training.optimizer).gradients_per_step + (training.adversarial_steps or 0)
    return item_cost(stack).flops * stack.items * gradients


def row_bytes(stack: Stack) -> int:
    """Estimate the memory of one network of a stack while its step is taken.

    Args:
        stack: The stack.

    Returns:
        Weights, gradient and slots, three passing copies of them, learning rates where each parameter has
        its own, activations and their gradients, and what an attack keeps of the inputs.
    """
    spec, item_bytes = stack.models[0].spec, 2 * item_cost(stack).bytes
    copies = 5 + len(optimizers.get(spec.training.optimizer).slots)
    copies += any(model.spec.training.temp_balance != "none" for model in stack.models)
    if spec.training.adversarial_steps is not None:
        item_bytes += _ATTACK_BYTES * math.prod(datasets.shape(spec.dataset).inputs)
    return int(4 * copies * stack.layout.size + min(spec.training.batch_size, stack.items) * item_bytes)


def resting_bytes(stack: Stack) -> int:
    """Estimate the memory of a stack beside the step: data, targets, order, batches, checkpoints.

    Args:
        stack: The stack.

    Returns:
        Bytes.
    """
    data = datasets.load(stack.models[0].spec.dataset).train
    rows, items = len(stack.models), stack.items
    slots = len(optimizers.get(stack.models[0].spec.training.optimizer).slots)
    own = rows if data.y.ndim == 1 else 1  # the next tokens of a text are the same for all
    targets = own * data.y.nbytes + 16 * rows * items
    gathered = min(GATHERED_BYTES, rows * items * data.x[0].nbytes)
    # each checkpoint stands in the record, in the matrix of the shard and in the image of its file
    return int(
        data.x.nbytes + targets + gathered + 4 * rows * (1 + slots) * stack.layout.size + 3 * stack.n_bytes
    )


def stack_bytes(stack: Stack, chunk: int) -> int:
    """Estimate the memory of a stack in training.

    Args:
        stack: The stack.
        chunk: Networks that a step takes at once.

    Returns:
        Bytes beside those of the process itself.
    """
    return resting_bytes(stack) + min(chunk, len(stack.models)) * row_bytes(stack)
