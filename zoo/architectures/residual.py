"""Residual branches one after another, or side by side on the same input (arXiv 2309.08414)."""

from __future__ import annotations

from functools import partial
from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor, nn

from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.initialisation import ACTIVATIONS, Activation, draw_layers
from zoo.architectures.shapes import wrong_inputs
from zoo.architectures.symmetries import Draft, Symmetry
from zoo.spec import DataShape


class ResidualOptions(ArchitectureOptions):
    """Options of a residual stack.

    Attributes:
        form: `sequential`, each branch sees what the ones before it made; `parallel`, all see the same.
        width: Units or channels of every layer but the last.
        depth: Branches.
        activation: Non-linearity between the two layers of each branch.
        residual_scale: Factor of what each branch adds.
    """

    form: Literal["sequential", "parallel"] = "sequential"
    width: int = Field(default=16, ge=1, le=65536)
    depth: int = Field(default=4, ge=1, le=256)
    activation: Activation = "relu"
    residual_scale: float = Field(default=1.0, gt=0, le=100)


class _Residual(nn.Module):
    """Stem, branches, global average of images, one linear layer."""

    def __init__(self, options: ResidualOptions, data: DataShape) -> None:
        super().__init__()
        images, w = len(data.inputs) == 3, options.width
        layer = partial(nn.Conv2d, kernel_size=3, padding=1) if images else nn.Linear
        activation = ACTIVATIONS[options.activation]
        self.parallel, self.scale = options.form == "parallel", options.residual_scale
        self.stem = layer(data.inputs[0], w)
        self.branches = nn.ModuleList(
            nn.Sequential(layer(w, w), activation(), layer(w, w)) for _ in range(options.depth)
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()) if images else nn.Identity()
        self.head = nn.Linear(w, data.classes)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        first = flow = self.stem(x)
        for branch in self.branches:
            flow = flow + self.scale * branch(first if self.parallel else flow)
        logits: Tensor = self.head(self.pool(flow))
        return logits


class ResidualStack(Architecture):
    """Residual networks and their shallow relatives (Bermeitinger et al. 2023, arXiv 2309.08414).

    With the stem's output x and branches F_l of two layers with a non-linearity between, `sequential` takes
    `x <- x + s F_l(x)` for one l after another, `parallel` `x + s (F_1(x) + ... + F_L(x))`: the former
    expanded in s up to first order. Both have the same names and shapes: `stem`, `branches.0.0`,
    `branches.0.2`, ..., `head`. Layers are linear for vectors, and 3 x 3 convolutions of padding 1 for
    images, whose average the head sees.

    Parameters, for width w, k inputs (channels of images), depth L and c classes, with `n = 1` for vectors
    and 9 for images: `w (n k + 1) + 2 L w (n w + 1) + c (w + 1)`.
    """

    name = "residual"
    options = ResidualOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: A `ResidualOptions`.
            data: Shape of the inputs, number of classes.

        Returns:
            From `(batch, n_inputs)` or `(batch, channels, height, width)` to logits `(batch, n_classes)`.

        Raises:
            SpecificationError: The inputs are neither vectors nor images.
        """
        if len(data.inputs) not in {1, 3} or data.tokens is not None:
            raise wrong_inputs(self.name, "vectors or images", data)
        return _Residual(ResidualOptions.model_validate(options.model_dump()), data)

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights as torch's layers do by default.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        draw_layers(module, generator)

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say how units can be permuted: those of the stream all together, and those within each branch.

        Branches that stand side by side could also change places; that is left out.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            Groups `stem`, the stream, and `branches.0`, `branches.1`, ...
        """
        assert isinstance(module, _Residual)
        draft, width = Draft(module), module.head.in_features
        stream = draft.units("stem", width)
        draft.see(stream, "pool")
        draft.layer("stem", stream)
        relu = []
        for number, branch in enumerate(module.branches):
            name = f"branches.{number}"
            inner = draft.units(name, width)
            draft.see(inner, f"{name}.1")
            draft.layer(f"{name}.0", inner, stream)
            draft.layer(f"{name}.2", stream, inner)
            relu += [name] if isinstance(branch.get_submodule("1"), nn.ReLU) else []
        draft.layer("head", None, stream)
        return draft.finish(scalable=tuple(relu))
