"""Vision Transformer of Dosovitskiy et al. 2021 (arXiv 2010.11929), for small images."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor, nn

from zoo.architectures.attention import Block, BlockShape, HeadDimOptions, draw_xavier, transformer_symmetry
from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.shapes import need_images
from zoo.architectures.symmetries import Symmetry
from zoo.errors import SpecificationError
from zoo.spec import DataShape

_POSITION_STD = 0.02


class ViTOptions(HeadDimOptions):
    """Options of the Vision Transformer.

    Attributes:
        model_dim: Numbers at each place; the usual load axis.
        head_dim: Numbers of one head, 64 as in all sizes of the paper; a smaller `model_dim` has one head.
        depth: Blocks.
        patch: Side of a patch in pixels; it divides both sides of the image.
        dropout: Share dropped from the embeddings and from what each sub-layer gives, in [0, 1).
    """

    depth: int = Field(default=6, ge=1, le=256)
    patch: int = Field(default=4, ge=1, le=1024)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class ViTNetwork(nn.Module):
    """Patches and a class token, learned positions, pre-norm blocks, and a linear head on the class token.

    Args:
        options: The options.
        data: Images whose sides the patch divides.
    """

    def __init__(self, options: ViTOptions, data: DataShape) -> None:
        super().__init__()
        channels, height, width = data.inputs
        dim, self.patch = options.model_dim, options.patch
        places = (height // options.patch) * (width // options.patch)
        shape = BlockShape(dim, options.heads, dropout=options.dropout)
        self.class_token = nn.Parameter(torch.zeros(1, dim))
        self.positions = nn.Parameter(torch.zeros(places + 1, dim))
        self.patches = nn.Linear(channels * options.patch**2, dim)
        self.dropout = shape.dropped()
        self.h = nn.ModuleList(Block(shape) for _ in range(options.depth))
        self.ln_f = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, data.classes)

    def _cut(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch places pixels"]:
        """Cut images into patches, row by row; a patch's numbers stand as in a kernel of `nn.Conv2d`."""
        batch, channels, height, width = x.shape
        side = self.patch
        cut = x.reshape(batch, channels, height // side, side, width // side, side)
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Give the logits.

        Args:
            x: Images `(batch, channels, height, width)`.

        Returns:
            `(batch, n_classes)`.
        """
        patches = self.patches(self._cut(x))
        first = self.class_token.expand(len(x), 1, -1)
        x = self.dropout(torch.cat([first, patches], dim=1) + self.positions)
        for block in self.h:
            x = block(x)
        logits: Tensor = self.head(self.ln_f(x[:, 0]))
        return logits


class ViT(Architecture):
    """The ViT family.

    Parameters: `d(c_in p^2 + 1) + d(n + 2) + depth (12 d^2 + 13 d) + 2 d + c(d + 1)` for model_dim d, c_in
    channels, patches of side p, n of them, and c classes: 86,567,656 for ViT-B/16 (d = 768, depth 12) on
    224 x 224 colour images of 1,000 classes.

    Attention weights have no dropout, unlike in the paper.
    """

    name = "vit"
    options = ViTOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: A `ViTOptions`.
            data: Shape of the inputs, number of classes.

        Returns:
            A module from `(batch, channels, height, width)` to logits `(batch, n_classes)`.

        Raises:
            SpecificationError: The inputs are no images, or the patch does not divide their sides.
        """
        chosen = ViTOptions.model_validate(options.model_dump())
        _, height, width = need_images(self.name, data)
        if height % chosen.patch or width % chosen.patch:
            raise SpecificationError(
                f"the vit cuts images into patches of side {chosen.patch}, which does not divide both sides "
                f"of {height} x {width} images; choose a patch that does"
            )
        return ViTNetwork(chosen, data)

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights: Xavier-uniform matrices, class token and positions from N(0, 0.02^2).

        The released code begins with a head and a class token of zeros; here both are drawn, so that
        initial networks differ in every matrix.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        draw_xavier(module, generator, std=_POSITION_STD)

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say what can be permuted: the stream through all layers, heads, and hidden units of each block.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            Groups `stream`, `h.0.attn` (heads), `h.0.mlp`, ...
        """
        return transformer_symmetry(module, tables=("class_token", "positions"), cut="patches", head="head")
