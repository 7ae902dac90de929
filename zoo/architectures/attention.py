"""The block of all transformers here: multi-head self-attention and an MLP, each around a residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn
from torch.nn import functional

from zoo.architectures.base import ArchitectureOptions
from zoo.architectures.initialisation import NORMS
from zoo.architectures.symmetries import Axis, Draft, Factor, Symmetry

NormPlace = Literal["pre", "post", "peri"]
"""Where LayerNorm stands around a sub-layer F."""


@dataclass(frozen=True)
class BlockShape:
    """What one block looks like.

    Attributes:
        model_dim: Numbers at each place of the residual stream.
        heads: Attention heads; they share `model_dim` equally.
        norm: `pre`: `x + F(LN(x))` (Xiong et al. 2020); `post`: `LN(x + F(x))` (Vaswani et al. 2017);
            `peri`: `x + LN(F(LN(x)))` (Kim et al. 2025).
        causal: Whether a place sees itself and earlier places alone.
        dropout: Share of numbers dropped from what each sub-layer gives, in [0, 1).
        gelu: `none` for the exact GELU, `tanh` for GPT-2's approximation of it.
    """

    model_dim: int
    heads: int
    norm: NormPlace = "pre"
    causal: bool = False
    dropout: float = 0.0
    gelu: Literal["none", "tanh"] = "none"

    def dropped(self) -> nn.Module:
        """Give a dropout layer, or one that does nothing and so needs no stream of its own."""
        return nn.Dropout(self.dropout) if self.dropout else nn.Identity()


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2); the names are GPT-2's.

    Rows of `c_attn` are those of queries, keys and values in this order, each head by head: the order of
    `nn.MultiheadAttention`. Attention weights have no dropout: torch's kernel would draw it from the global
    generator.

    Args:
        shape: Shape of the block.
    """

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.heads, self.causal = shape.heads, shape.causal
        self.c_attn = nn.Linear(shape.model_dim, 3 * shape.model_dim)
        self.c_proj = nn.Linear(shape.model_dim, shape.model_dim)
        self.dropout = shape.dropped()

    def forward(self, x: Float[Tensor, "batch places dim"]) -> Float[Tensor, "batch places dim"]:
        """Attend.

        Args:
            x: `(batch, places, model_dim)`.

        Returns:
            The same shape.
        """
        parts = self.c_attn(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        query, key, value = (part.transpose(-3, -2) for part in parts)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        mixed: Tensor = self.dropout(self.c_proj(seen.transpose(-3, -2).flatten(-2)))
        return mixed


class FeedForward(nn.Module):
    """Two linear layers with GELU between them, `4 model_dim` wide inside; the names are GPT-2's.

    Args:
        shape: Shape of the block.
    """

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.c_fc = nn.Linear(shape.model_dim, 4 * shape.model_dim)
        self.gelu = nn.GELU(approximate=shape.gelu)
        self.c_proj = nn.Linear(4 * shape.model_dim, shape.model_dim)
        self.dropout = shape.dropped()

    def forward(self, x: Float[Tensor, "batch places dim"]) -> Float[Tensor, "batch places dim"]:
        """Run it at each place.

        Args:
            x: `(batch, places, model_dim)`.

        Returns:
            The same shape.
        """
        output: Tensor = self.dropout(self.c_proj(self.gelu(self.c_fc(x))))
        return output


class Block(nn.Module):
    """Self-attention, then an MLP, with LayerNorm where `norm` says.

    Parameters: `12 d^2 + 13 d` for model_dim d; `peri` has `4 d` more, those of `ln_1_out` and `ln_2_out`.

    Args:
        shape: Shape of the block.
    """

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.norm = shape.norm
        self.ln_1 = nn.LayerNorm(shape.model_dim)
        self.attn = SelfAttention(shape)
        self.ln_1_out = self._outer(shape)
        self.ln_2 = nn.LayerNorm(shape.model_dim)
        self.mlp = FeedForward(shape)
        self.ln_2_out = self._outer(shape)

    @staticmethod
    def _outer(shape: BlockShape) -> nn.Module:
        return nn.LayerNorm(shape.model_dim) if shape.norm == "peri" else nn.Identity()

    def forward(self, x: Float[Tensor, "batch places dim"]) -> Float[Tensor, "batch places dim"]:
        """Run it.

        Args:
            x: `(batch, places, model_dim)`.

        Returns:
            The same shape.
        """
        if self.norm == "post":
            x = self.ln_1(x + self.attn(x))
            x = self.ln_2(x + self.mlp(x))
        else:
            x = x + self.ln_1_out(self.attn(self.ln_1(x)))
            x = x + self.ln_2_out(self.mlp(self.ln_2(x)))
        return x


def check_heads(model_dim: int, heads: int, way_out: str) -> None:
    """Refuse a width that the heads cannot share; for validators of options.

    Args:
        model_dim: The width.
        heads: Number of heads.
        way_out: What to change.

    Raises:
        ValueError: The width does not divide.
    """
    if model_dim % heads:
        raise ValueError(f"model_dim {model_dim} does not divide into {heads} heads; {way_out}")


class HeadDimOptions(ArchitectureOptions):
    """Options of networks whose number of heads grows with their width.

    Attributes:
        model_dim: Numbers at each place; the usual load axis.
        head_dim: Numbers of one head: there are `model_dim // head_dim` heads, and one below that.
    """

    model_dim: int = Field(ge=1, le=65536)
    head_dim: int = Field(default=64, ge=1, le=65536)

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return max(1, self.model_dim // self.head_dim)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> HeadDimOptions:
        way_out = f"take a multiple of head_dim {self.head_dim}, or another head_dim"
        check_heads(self.model_dim, self.heads, way_out)
        return self


@torch.no_grad()
def draw_xavier(module: nn.Module, generator: Generator, *, std: float) -> None:
    """Draw linear layers Xavier-uniform, as the released code of ViT draws its blocks, with biases 0.

    Queries, keys and values count as three matrices (Glorot and Bengio 2010: the bound of an `m x n` matrix
    is `sqrt(6 / (m + n))`). Normalisations begin at gain 1 and shift 0; all else (embeddings, positions,
    class tokens) is normal.

    Args:
        module: The network; changed in place, layers in the order of `modules()`.
        generator: Source of all randomness.
        std: Standard deviation of embeddings, positions and class tokens.
    """
    packed = {layer.c_attn for layer in module.modules() if isinstance(layer, SelfAttention)}
    for layer in module.modules():
        if isinstance(layer, NORMS):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear):
            for matrix in layer.weight.chunk(3) if layer in packed else [layer.weight]:
                nn.init.xavier_uniform_(matrix, generator=generator)
            nn.init.zeros_(layer.bias)
        else:
            for table in layer.parameters(recurse=False):
                nn.init.normal_(table, std=std, generator=generator)


def transformer_symmetry(
    module: nn.Module, *, tables: tuple[str, ...], cut: str | None = None, head: str | None = None
) -> Symmetry:
    """Give the symmetry of a transformer: its stream, the heads and the hidden units of each block.

    Args:
        module: A network with blocks `h` and, if it has one, a last normalisation `ln_f`; its weights are not
            looked at.
        tables: Embeddings, positions and tokens, whose second axis is the stream.
        cut: The linear layer that makes the stream from patches, if there is one.
        head: The last layer, if it is none of the tables.

    Returns:
        Groups `stream`, `h.0.attn` (heads), `h.0.mlp`, ...
    """
    draft, dim = Draft(module), module.get_parameter("h.0.attn.c_proj.bias").numel()
    stream = draft.units("stream", dim)
    for name in tables:
        draft.layer(name, None, stream)
    if cut is not None:
        draft.layer(cut, stream)
    keys = {}
    for number, block in module.get_submodule("h").named_children():
        assert isinstance(block, Block)
        _draft_block(draft, f"h.{number}", stream, heads=block.attn.heads)
        draft.see(stream, f"h.{number}", axis=2)
        keys[f"h.{number}.attn.c_attn.bias"] = (dim, 2 * dim)
    draft.layer("ln_f", stream)
    if head is not None:
        draft.layer(head, None, stream)
    return draft.finish(invisible=keys)


def _draft_block(draft: Draft, name: str, stream: Axis, *, heads: int) -> None:
    (dim,) = (factor.size for factor in stream)
    for norm in ("ln_1", "ln_1_out", "ln_2", "ln_2_out"):
        draft.layer(f"{name}.{norm}", stream)
    head = draft.units(f"{name}.attn", heads)
    draft.layer(f"{name}.attn.c_attn", (Factor(size=3), *head), stream)
    draft.layer(f"{name}.attn.c_proj", stream, head)
    hidden = draft.units(f"{name}.mlp", 4 * dim)
    draft.see(hidden, f"{name}.mlp.gelu", axis=2)
    draft.layer(f"{name}.mlp.c_fc", hidden, stream)
    draft.layer(f"{name}.mlp.c_proj", stream, hidden)
