"""Which relabellings of hidden units leave a network's function as it is, written down as data."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Int, Shaped
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from zoo.architectures.initialisation import NORMS
from zoo.errors import SpecificationError, unknown_name
from zoo.spec import Layout
from zoo.weights import unflatten

Permutations = Mapping[str, Int[Tensor, "..."]]
"""Order of the units by group, `(size,)` for all networks alike or `(n_models, size)`: the new unit i is the
old unit `order[i]`."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Factor(_Record):
    """A part of an axis.

    Attributes:
        size: How many places it has.
        group: The group that permutes them; nothing where they stay.
    """

    size: int = Field(ge=1)
    group: str | None = None


Axis = tuple[Factor, ...]
"""An axis as a product, the last factor running fastest: channels x positions after a flatten."""


class View(_Record):
    """Where the units of a group can be seen at work.

    Attributes:
        module: Name of the module whose output they are.
        axis: Axis of this output on which they stand, the batch being axis 0.
    """

    module: str
    axis: int


class Symmetry(_Record):
    """The permutation symmetries of an architecture: `f(permuted weights) = f(weights)` in eval mode.

    Groups act independently of each other. Inputs and logits are never permuted. What belongs to a unit goes
    with it: biases, gains and shifts of normalisations, and running statistics. Units that a shortcut adds
    up share one group, so that a residual stream is one group, with all that reads or writes it.

    Networks have more symmetries than these, and a distance of weights sees all of them:

    - ReLU: a unit's incoming weights times c > 0, its outgoing ones divided by c. `scalable` names the groups
      for which it holds as it stands; `zoo.alignment.canonical` fixes c. Normalised units have it as well.
    - tanh: the sign of all weights of a unit.
    - within an attention head: any invertible map between queries and keys, and between values and `c_proj`.
      Heads are permuted whole, the numbers within a head keep their order.
    - a residual stream that no LayerNorm or non-linearity touches, that of `residual`: any invertible map.
      With LayerNorm: adding the same number to all of the stream.
    - the order of the branches of `residual` in its parallel form.
    - locally connected twins: another order of the channels at each position; here all positions share one.

    Some numbers never matter, though distances see them: biases of keys, to which softmax is blind
    (`invisible`), weights of locally connected layers that meet the padding, and `num_batches_tracked` in
    eval mode. Biases before a BatchNorm get no gradient in training mode, but are seen in eval mode.

    Attributes:
        groups: Number of units by group, from the inputs up; groups have the name of what makes their units,
            such as a layer, a block or `stream`.
        axes: For each tensor of the layout, its axes.
        views: Where the units are seen, for groups whose units can be seen one by one.
        scalable: Groups of ReLU units without a normalisation: what writes them times c and what reads them
            divided by c is the same function.
        invisible: Tensors that hold numbers which never matter, and which rows these are: first, past last.
    """

    groups: dict[str, int]
    axes: dict[str, tuple[Axis, ...]]
    views: dict[str, View] = Field(default_factory=dict)
    scalable: tuple[str, ...] = ()
    invisible: dict[str, tuple[int, int]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _factors_fit_their_groups(self) -> Symmetry:
        for name in self.axes:
            grouped = [factor for factor in self.factors(name) if factor.group is not None]
            if len({factor.group for factor in grouped}) < len(grouped):
                raise ValueError(f"a group permutes each tensor once, {name} has one of them twice")
            for factor in grouped:
                if self.groups.get(str(factor.group)) != factor.size:
                    raise ValueError(
                        f"{name} has {factor.size} units of group {factor.group!r}, expected "
                        f"{self.groups.get(str(factor.group), 'no such group')}"
                    )
        return self

    def factors(self, name: str) -> tuple[Factor, ...]:
        """List the factors of a tensor.

        Args:
            name: Its name.

        Returns:
            Those of all of its axes, in order: viewed in their sizes, each group has an axis of its own.
        """
        return tuple(factor for axis in self.axes[name] for factor in axis)

    def shape(self, name: str) -> tuple[int, ...]:
        """Give the shape of a tensor in its factors.

        Args:
            name: Its name.

        Returns:
            A size for each factor; their product is the tensor's size.
        """
        return tuple(factor.size for factor in self.factors(name))

    def places(self, group: str) -> dict[str, int]:
        """Say where a group acts.

        Args:
            group: Its name.

        Returns:
            Tensors that it permutes, and on which of their factors.
        """
        found = {}
        for name in self.axes:
            groups = [factor.group for factor in self.factors(name)]
            if group in groups:
                found[name] = groups.index(group)
        return found

    def writers(self, group: str) -> frozenset[str]:
        """Name the tensors that make the units of a group: those that have it on their first axis.

        Args:
            group: Its name.

        Returns:
            Names of tensors; what else the group permutes reads the units.
        """
        first = {name: axes[0] for name, axes in self.axes.items() if axes}
        return frozenset(
            name for name, axis in first.items() if any(factor.group == group for factor in axis)
        )

    def check(self, layout: Layout) -> None:
        """Refuse the layout of another network.

        Args:
            layout: A layout.

        Raises:
            SpecificationError: It has other tensors or shapes.
        """
        own = {name: tuple(_size(axis) for axis in axes) for name, axes in self.axes.items()}
        theirs = {entry.name: entry.shape for entry in layout.entries}
        if own != theirs:
            differing = sorted(k for k in own.keys() | theirs.keys() if own.get(k) != theirs.get(k))
            raise SpecificationError(
                f"this symmetry is not that of layout {layout.id}: {differing[0]} has shape "
                f"{theirs.get(differing[0], 'none')}, expected {own.get(differing[0], 'none')}; take the "
                "symmetry of the same architecture and data"
            )


def _size(axis: Axis) -> int:
    return math.prod(factor.size for factor in axis)


def permute(
    weights: Shaped[Tensor, "models params"], layout: Layout, symmetry: Symmetry, permutations: Permutations
) -> Shaped[Tensor, "models params"]:
    """Relabel the hidden units of networks.

    Args:
        weights: `(n_models, n_params)`.
        layout: Layout of the weights.
        symmetry: That of their architecture.
        permutations: Order of the units by group, `(size,)` or `(n_models, size)`: the new unit i is the old
            unit `order[i]`. Groups that are left out stay as they are.

    Returns:
        Weights of the same functions, a copy.

    Raises:
        SpecificationError: Layout and symmetry differ, or an order is no permutation of its group.
        UnknownNameError: There is no such group.

    Example:
        >>> from zoo.architectures import DataShape, layout, symmetry
        >>> from zoo.spec import ArchitectureSpecification
        >>> mlp, shape = ArchitectureSpecification(name="mlp", width=2, depth=1), DataShape((1,), 1)
        >>> swapped = {"0": torch.tensor([1, 0])}  # rows of 0.weight, 0.bias; columns of 2.weight; 2.bias
        >>> permute(torch.arange(7.0)[None], layout(mlp, shape), symmetry(mlp, shape), swapped)
        tensor([[1., 0., 3., 2., 5., 4., 6.]])
    """
    symmetry.check(layout)
    orders = {name: _order(symmetry, name, order, len(weights)) for name, order in permutations.items()}
    pieces = []
    for name, tensor in unflatten(weights, layout).items():
        moved = tensor.reshape(len(weights), *symmetry.shape(name))
        for place, factor in enumerate(symmetry.factors(name)):
            if factor.group in orders:
                moved = take_units(moved, orders[factor.group], place)
        pieces.append(moved.unsqueeze(-1).flatten(1))
    return torch.cat(pieces, dim=1)


def take_units(
    tensor: Shaped[Tensor, "models ..."], order: Int[Tensor, "models units"], place: int
) -> Shaped[Tensor, "models ..."]:
    """Take units in another order, each network in its own.

    Args:
        tensor: `(n_models, *factors)`.
        order: `(n_models, n_units)`.
        place: Which factor the units are.

    Returns:
        The same shape, a copy.
    """
    wide = [len(order), *[1] * (tensor.ndim - 1)]
    wide[place + 1] = order.shape[1]
    return torch.take_along_dim(tensor, order.to(tensor.device).view(wide), place + 1)


def _order(symmetry: Symmetry, group: str, order: Tensor, models: int) -> Tensor:
    if group not in symmetry.groups:
        raise unknown_name("group", group, symmetry.groups)
    size, order = symmetry.groups[group], order.long()
    expected = torch.arange(size, device=order.device)
    fits = order.shape in {(size,), (models, size)}
    if not fits or not torch.equal(order.sort(dim=-1).values, expected.expand(order.shape)):
        raise SpecificationError(
            f"group {group!r}: expected each of 0..{size - 1} once, in the shape ({size},) or ({models}, "
            f"{size}), got an order of shape {tuple(order.shape)}; give every unit a place"
        )
    return order.expand(models, size)


class Draft:
    """Puts a symmetry together, layer by layer, from a module whose weights are not looked at.

    Args:
        module: The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self._shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        self._groups: dict[str, int] = {}
        self._axes: dict[str, tuple[Axis, ...]] = {}
        self._views: dict[str, View] = {}

    def units(self, group: str, size: int) -> Axis:
        """Begin a group.

        Args:
            group: Its name.
            size: Number of its units.

        Returns:
            The axis that they are.
        """
        self._groups[group] = size
        return (Factor(size=size, group=group),)

    def see(self, units: Axis, module: str, axis: int = 1) -> None:
        """Say where units can be seen; the last word holds.

        Args:
            units: The units.
            module: Name of the module whose output they are.
            axis: Axis of this output.
        """
        self._views |= {str(f.group): View(module=module, axis=axis) for f in units if f.group is not None}

    def layer(self, name: str, above: Axis | None, below: Axis | None = None) -> None:
        """Enter all tensors of a layer.

        Args:
            name: Name of the layer, or of a parameter.
            above: The units of their first axis, nothing for what stays: logits, places, tokens. An axis with
                more numbers than these holds as many positions for each.
            below: The units of their second axis, likewise. Any further axes stay.
        """
        for tensor, shape in self._shapes.items():
            if tensor == name or tensor.rpartition(".")[0] == name:
                units = [above, below, *[None] * len(shape)]
                self._axes[tensor] = tuple(map(_fill, units, shape))

    def finish(
        self, *, scalable: tuple[str, ...] = (), invisible: dict[str, tuple[int, int]] | None = None
    ) -> Symmetry:
        """Close the draft.

        Args:
            scalable: Groups of ReLU units without a normalisation.
            invisible: Tensors and rows that never matter.

        Returns:
            The symmetry.
        """
        axes = {name: self._axes[name] for name in self._shapes}
        return Symmetry(
            groups=self._groups, axes=axes, views=self._views, scalable=scalable, invisible=invisible or {}
        )


def _fill(units: Axis | None, size: int) -> Axis:
    if units is None:
        return (Factor(size=size),)
    rest = size // _size(units)
    return units if rest == 1 else (*units, Factor(size=rest))


_NON_LINEAR = (nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid)


def chain(module: nn.Module) -> Symmetry:
    """Give the symmetry of layers that follow each other: each but the last has a group of its own.

    Args:
        module: `nn.Sequential` of linear, convolutional and locally connected layers, normalisations, pools
            and non-linearities that treat all channels alike.

    Returns:
        The symmetry; a group has the name of the layer whose units it permutes, which are seen after its
        non-linearity.
    """
    draft, below = Draft(module), None
    layers = dict(module.named_children())
    *hidden, last = [n for n, layer in layers.items() if _is_affine(layer)]
    for name, layer in layers.items():
        if name in hidden:
            above = draft.units(name, _width(layer))
            draft.layer(name, above, below)
            below = above
        elif below is not None and name != last:
            draft.layer(name, below)  # normalisations; the others have no tensors
            if isinstance(layer, _NON_LINEAR):
                draft.see(below, name)
    draft.layer(last, None, below)
    plain = not any(isinstance(layer, NORMS) for layer in layers.values())
    relu = any(isinstance(layer, nn.ReLU) for layer in layers.values())
    return draft.finish(scalable=tuple(hidden) if plain and relu else ())


def _is_affine(layer: nn.Module) -> bool:
    return not isinstance(layer, NORMS) and any(True for _ in layer.parameters(recurse=False))


def _width(layer: nn.Module) -> int:
    width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    assert isinstance(width, int)
    return width
