"""Products of the loss's Hessian with vectors, for networks on fixed items: linearised once, then many."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn

from zoo.datasets import as_inputs
from zoo.errors import SpecificationError
from zoo.metrics.hessian.chain import ChainProduct, chain_layers
from zoo.spec import Layout
from zoo.training import NetworkStack


@runtime_checkable
class Product(Protocol):
    """The Hessians of some networks, linearised."""

    def __call__(self, vectors: Float[Tensor, "models trained"]) -> Float[Tensor, "models trained"]:
        """Multiply each with a vector."""
        ...

    def trace(self) -> Float[Tensor, " models"] | None:
        """Give their traces where these are known without random vectors."""
        ...


# On two cores more networks at once are slower: their activations leave the cache. Graphs of autograd hold
# several times what layers give, and have more to gain from every call.
_CHAIN_BYTES, _GRAPH_BYTES = 3 << 20, 8 << 20
_THREADS_BYTES = 64 << 20
"""What a network for each thread may take: a product of matrices for one network runs on one."""
_BASIS_BYTES, _BASIS_VECTORS = 128 << 20, 40


class Landscape(NamedTuple):
    """Networks, and the items on which their loss is looked at.

    Attributes:
        stack: The networks.
        x: Items, floating-point ones in the type of the weights.
        y: Classes `(n_items,)`, or `(n_items, places)` of sequences.
    """

    stack: NetworkStack
    x: Num[Tensor, "items ..."]
    y: Int[Tensor, "items ..."]

    @classmethod
    def of(
        cls, model: nn.Module | NetworkStack, x: Num[Tensor, "items_x ..."], y: Int[Tensor, "items_y ..."]
    ) -> Landscape:
        """Take what a caller gives.

        Args:
            model: One network or a stack of them.
            x: Items; bytes are pixels.
            y: Their classes.

        Returns:
            The same, checked.

        Raises:
            SpecificationError: There is no item, no class for each output, one that the networks do not have,
                or nothing to differentiate by.
        """
        _check_module(model if isinstance(model, nn.Module) else model.module)
        if len(x) != len(y) or len(x) == 0:
            raise SpecificationError(
                f"the loss is the mean over items: expected as many classes as items, at least 1, got "
                f"{len(y)} and {len(x)}; give each item its class"
            )
        stack = model if isinstance(model, NetworkStack) else NetworkStack.of(model)
        items, weights = as_inputs(x), stack.weights
        *places, classes = _trial(stack.module, items).shape[1:]
        if list(y.shape[1:]) != places:
            raise SpecificationError(
                f"each output has its class: expected classes of shape {(len(x), *places)}, got "
                f"{tuple(y.shape)}; give one an item, or one at each place of a sequence"
            )
        if y.min() < 0 or y.max() >= classes:
            raise SpecificationError(
                f"the networks tell {classes} classes apart: expected numbers from 0 to {classes - 1}, got "
                f"{int(y.min())} to {int(y.max())}; number the classes from 0"
            )
        dtype = weights.dtype if items.is_floating_point() else items.dtype
        return cls(stack, items.to(weights.device, dtype), y.to(weights.device))

    @property
    def size(self) -> int:
        """Number of trainable entries of a network."""
        return sum(entry.size for entry in self.stack.layout.entries if entry.kind != "buffer")

    def select(self, rows: slice | list[int]) -> Landscape:
        """Take some of the networks.

        Args:
            rows: Which.

        Returns:
            Their landscape.
        """
        return self._replace(stack=self.stack.select(rows))

    def repeated(self, times: int) -> Landscape:
        """Take each network several times, one after the other.

        Args:
            times: How often.

        Returns:
            The landscape of all copies.
        """
        return self.select([row for row in range(len(self.stack)) for _ in range(times)])

    def product(self) -> Product:
        """Linearise the gradient of the mean cross-entropy of each network.

        Returns:
            The product with its Hessian in the trainable entries, those of the layout that are no buffers.
        """
        layers = chain_layers(self.stack, self.x) if self.y.ndim == 1 else []
        return ChainProduct(layers, *self) if layers else GraphProduct(*self)

    def rows(self) -> int:
        """Say how many networks to take at once, such that time and memory stay small.

        Returns:
            At least 1.
        """
        chain = bool(chain_layers(self.stack, self.x)) and self.y.ndim == 1
        if not chain and any(isinstance(m, nn.modules.conv._ConvNd) for m in self.stack.module.modules()):
            return 1  # many convolutions as one of groups take longer on a CPU
        width = self.stack.weights.dtype.itemsize
        outputs = len(self.x) * width * _outputs(self.stack.module, self.x)
        basis = _BASIS_VECTORS * width * self.size
        threads = min(torch.get_num_threads(), _THREADS_BYTES // outputs)
        fitting = max(threads, _CHAIN_BYTES // outputs) if chain else _GRAPH_BYTES // outputs
        return max(1, min(fitting, _BASIS_BYTES // basis))


def _check_module(module: nn.Module) -> None:
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    if not names:
        raise SpecificationError(
            f"the Hessian is taken in trainable entries: expected some, got a {type(module).__name__} "
            "without parameters; give a network that can be trained"
        )
    if len(names) != len(list(module.parameters())):
        raise SpecificationError(
            f"expected parameters that stand at one place each, got some of {names} at several; give each "
            "layer its own, a shared one has no derivative of its own"
        )


def _outputs(module: nn.Module, x: Tensor) -> int:
    """Count the numbers that the layers of a network give for one item."""
    found: list[int] = []
    leaves = [layer for layer in module.modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(lambda *call: found.append(call[2].numel())) for layer in leaves]
    try:
        _trial(module, x)
    finally:
        for handle in handles:
            handle.remove()
    return max(1, sum(found))


@torch.no_grad()
def _trial(module: nn.Module, x: Tensor) -> Tensor:
    """Run a skeleton on one item, for the shapes alone."""
    own = next(module.parameters())
    item = x[:1].clone().to(own.device, own.dtype if x.is_floating_point() else x.dtype)
    logits: Tensor = module.eval()(item)
    return logits


class GraphProduct:
    """Multiplies the Hessian of any network, along the graph of its gradient.

    Args:
        stack: The networks.
        x: Items.
        y: Classes.
    """

    def __init__(self, stack: NetworkStack, x: Num[Tensor, "items ..."], y: Int[Tensor, "items ..."]) -> None:
        self._places = _trained(stack.layout).to(stack.weights.device)
        self._point = stack.weights.detach().requires_grad_()
        with torch.enable_grad():
            logits = stack.logits(self._point, x)
            labels = y.expand(len(logits), *y.shape).flatten()
            losses = nn.functional.cross_entropy(logits.flatten(0, -2), labels, reduction="sum") / y.numel()
            (gradient,) = torch.autograd.grad(losses, self._point, create_graph=True)
            self._gradient = gradient[:, self._places]

    def __call__(self, vectors: Float[Tensor, "models trained"]) -> Float[Tensor, "models trained"]:
        """Multiply.

        Args:
            vectors: `(n_models, n_trained)`, one for each network.

        Returns:
            `(n_models, n_trained)`.
        """
        (found,) = torch.autograd.grad(self._gradient, self._point, vectors, retain_graph=True)
        return found[:, self._places]

    def trace(self) -> None:
        """Say nothing: a graph does not tell."""


def _trained(layout: Layout) -> Int[Tensor, " trained"]:
    """List the places of the entries of a weight vector that are trained."""
    kinds = [torch.full((entry.size,), entry.kind != "buffer") for entry in layout.entries]
    return torch.cat(kinds).nonzero()[:, 0]


class Active:
    """The networks of a landscape that work remains for.

    Args:
        landscape: All of them.

    Attributes:
        rows: Which they are.
        product: Their Hessians' product.
    """

    def __init__(self, landscape: Landscape) -> None:
        self._landscape = landscape
        self.rows = torch.arange(len(landscape.stack), device=landscape.stack.weights.device)
        self.product = landscape.product()

    def worth_leaving(self, done: Bool[Tensor, " active"]) -> bool:
        """Say whether so many are done that it pays to linearise the others anew.

        Args:
            done: Which.

        Returns:
            Whether at least half of them are.
        """
        return 2 * int(done.sum()) >= len(done)

    def keep(self, kept: Bool[Tensor, " active"]) -> None:
        """Go on with some of them.

        Args:
            kept: Which; at least one.
        """
        self.rows = self.rows[kept]
        self.product = self._landscape.select(self.rows.tolist()).product()
