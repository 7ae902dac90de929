"""Small transformer encoder for studies of where LayerNorm stands; it classifies sequences."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Num
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from zoo.architectures.attention import (
    Block,
    BlockShape,
    NormPlace,
    check_heads,
    draw_xavier,
    transformer_symmetry,
)
from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.shapes import wrong_inputs
from zoo.architectures.symmetries import Symmetry
from zoo.errors import SpecificationError
from zoo.spec import DataShape


class TransformerOptions(ArchitectureOptions):
    """Options of the encoder.

    Attributes:
        model_dim: Numbers at each place; the usual load axis.
        depth: Blocks.
        heads: Attention heads; they divide `model_dim`.
        norm: Place of LayerNorm: `pre`, `post` or `peri`.
        dropout: Share dropped from the embeddings and from what each sub-layer gives, in [0, 1).
        patch: How many numbers of a vector make one place; tokens are one place each, whatever it says.
    """

    model_dim: int = Field(ge=1, le=65536)
    depth: int = Field(default=2, ge=1, le=256)
    heads: int = Field(default=4, ge=1, le=1024)
    norm: NormPlace = "pre"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    patch: int = Field(default=4, ge=1, le=65536)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> TransformerOptions:
        check_heads(self.model_dim, self.heads, f"take a multiple of {self.heads}, or other heads")
        return self


class TransformerNetwork(nn.Module):
    """Embedding, learned positions, blocks in which each place sees all, mean over places, linear head.

    With `pre` and `peri` a last LayerNorm stands before the mean; a block with `post` ends in one anyway.

    Args:
        options: The options.
        data: Vectors that the patch divides, or tokens.
    """

    def __init__(self, options: TransformerOptions, data: DataShape) -> None:
        super().__init__()
        dim, self.patch = options.model_dim, options.patch
        places = data.inputs[0] if data.tokens else data.inputs[0] // options.patch
        shape = BlockShape(dim, options.heads, norm=options.norm, dropout=options.dropout)
        self.positions = nn.Parameter(torch.zeros(places, dim))
        self.embed = nn.Embedding(data.tokens, dim) if data.tokens else nn.Linear(options.patch, dim)
        self.dropout = shape.dropped()
        self.h = nn.ModuleList(Block(shape) for _ in range(options.depth))
        self.ln_f = nn.Identity() if options.norm == "post" else nn.LayerNorm(dim)
        self.head = nn.Linear(dim, data.classes)

    def forward(self, x: Num[Tensor, "batch numbers"]) -> Float[Tensor, "batch classes"]:
        """Give the logits.

        Args:
            x: Tokens or vectors `(batch, n)`.

        Returns:
            `(batch, n_classes)`.
        """
        cut = x.long() if isinstance(self.embed, nn.Embedding) else x.reshape(len(x), -1, self.patch)
        stream = self.dropout(self.embed(cut) + self.positions)
        for block in self.h:
            stream = block(stream)
        logits: Tensor = self.head(self.ln_f(stream).mean(dim=1))
        return logits


class Transformer(Architecture):
    """The family of small encoders: Vaswani et al. 2017 with GELU, and a choice of the place of LayerNorm.

    Parameters: `e + d n + depth (12 d^2 + 13 d) + 2 d + c(d + 1)` for model_dim d, n places and c classes,
    where e is `d(patch + 1)` for vectors and `d v` for v tokens; `post` has `2 d` fewer (no last LayerNorm),
    `peri` has `4 d depth` more.

    Pre- and post-LN: Xiong et al. 2020 (arXiv 2002.04745); peri-LN: Kim et al. 2025 (arXiv 2502.02732).
    """

    name = "transformer"
    options = TransformerOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: A `TransformerOptions`.
            data: Shape of the inputs, number of classes.

        Returns:
            A module from tokens or vectors `(batch, n)` to logits `(batch, n_classes)`.

        Raises:
            SpecificationError: The inputs are neither tokens nor vectors, or the patch does not divide them.
        """
        if len(data.inputs) != 1:
            raise wrong_inputs(self.name, "vectors or sequences of tokens", data)
        chosen = TransformerOptions.model_validate(options.model_dump())
        if data.tokens is None and data.inputs[0] % chosen.patch:
            raise SpecificationError(
                f"the transformer cuts vectors into patches of {chosen.patch} numbers, which does not divide "
                f"{data.inputs[0]}; choose a patch that does"
            )
        return TransformerNetwork(chosen, data)

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights: Xavier-uniform matrices, embeddings and positions from `N(0, 1/d)`.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        assert isinstance(module, TransformerNetwork)
        draw_xavier(module, generator, std=1 / math.sqrt(module.positions.shape[1]))

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say what can be permuted: the stream through all layers, heads, and hidden units of each block.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            Groups `stream`, `h.0.attn` (heads), `h.0.mlp`, ...
        """
        assert isinstance(module, TransformerNetwork)
        if isinstance(module.embed, nn.Embedding):
            return transformer_symmetry(module, tables=("positions", "embed"), head="head")
        return transformer_symmetry(module, tables=("positions",), cut="embed", head="head")
