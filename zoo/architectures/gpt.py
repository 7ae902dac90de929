"""GPT-2 (Radford et al. 2019): a causal transformer that predicts the next token at each place."""

from __future__ import annotations

import math

from jaxtyping import Float, Integer
from pydantic import Field
from torch import Generator, Tensor, nn

from zoo.architectures.attention import Block, BlockShape, HeadDimOptions, transformer_symmetry
from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.initialisation import NORMS
from zoo.architectures.shapes import wrong_inputs
from zoo.architectures.symmetries import Symmetry
from zoo.errors import SpecificationError
from zoo.spec import DataShape

_STD = 0.02


class GPTOptions(HeadDimOptions):
    """Options of the GPT.

    Attributes:
        model_dim: Numbers at each place; the usual load axis. GPT-2 small has 768.
        head_dim: Numbers of one head, 64 as in all sizes of GPT-2; a smaller `model_dim` has one head.
        depth: Blocks.
        dropout: Share dropped from the embeddings and from what each sub-layer gives, in [0, 1).
    """

    depth: int = Field(default=12, ge=1, le=256)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class GPTNetwork(nn.Module):
    """Token and position embeddings, causal pre-norm blocks, and logits from the token embedding again.

    Args:
        options: The options.
        data: Tokens, as many as outputs.
    """

    def __init__(self, options: GPTOptions, data: DataShape) -> None:
        super().__init__()
        shape = BlockShape(
            options.model_dim, options.heads, causal=True, dropout=options.dropout, gelu="tanh"
        )
        self.wte = nn.Embedding(data.classes, options.model_dim)
        self.wpe = nn.Embedding(data.inputs[0], options.model_dim)
        self.dropout = shape.dropped()
        self.h = nn.ModuleList(Block(shape) for _ in range(options.depth))
        self.ln_f = nn.LayerNorm(options.model_dim)

    def forward(self, x: Integer[Tensor, "batch places"]) -> Float[Tensor, "batch places tokens"]:
        """Give the logits of each place's next token.

        Args:
            x: Tokens `(batch, places)`, at most as many places as the context has.

        Returns:
            `(batch, places, n_tokens)`; those of a place depend on tokens up to it alone.
        """
        stream = self.dropout(self.wte(x.long()) + self.wpe.weight[: x.shape[1]])
        for block in self.h:
            stream = block(stream)
        logits: Tensor = self.ln_f(stream) @ self.wte.weight.mT  # one matrix, so it stands once among weights
        return logits


class GPT(Architecture):
    """The GPT-2 family; names are GPT-2's (`wte`, `wpe`, `h.0.attn.c_attn`, ...), matrices `(out, in)`.

    Parameters: `d(v + t) + depth (12 d^2 + 13 d) + 2 d` for model_dim d, v tokens and a context of t places:
    124,439,808 for GPT-2 small (d = 768, depth 12, v = 50,257, t = 1,024).

    The context is the length of the dataset's inputs. Attention weights have no dropout, unlike GPT-2's.
    """

    name = "gpt"
    options = GPTOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: A `GPTOptions`.
            data: Shape of the inputs, numbers of tokens and of outputs.

        Returns:
            A module from tokens `(batch, places)` to logits `(batch, places, n_tokens)`.

        Raises:
            SpecificationError: The inputs are no sequences of tokens, or the outputs are not the tokens.
        """
        if data.tokens is None or len(data.inputs) != 1:
            raise wrong_inputs(self.name, "sequences of tokens", data)
        if data.classes != data.tokens:
            raise SpecificationError(
                f"the gpt predicts one of its {data.tokens} tokens at each place, this dataset has "
                f"{data.classes} classes; choose another architecture, or a dataset of text"
            )
        return GPTNetwork(GPTOptions.model_validate(options.model_dump()), data)

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights: N(0, 0.02^2), biases 0; `c_proj` by `1/sqrt(2 depth)` smaller.

        The last is the paper's: each block adds twice to the residual stream, whose variance shall not grow
        with the depth (Radford et al. 2019, section 2.3).

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        blocks = sum(isinstance(layer, Block) for layer in module.modules())
        for name, layer in module.named_modules():
            if isinstance(layer, NORMS):
                layer.reset_parameters()
            elif isinstance(layer, nn.Linear | nn.Embedding):
                std = _STD / math.sqrt(2 * blocks) if name.endswith("c_proj") else _STD
                nn.init.normal_(layer.weight, std=std, generator=generator)
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say what can be permuted: the stream through all layers, heads, and hidden units of each block.

        The embedding gives the logits, too: the stream permutes it once.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            Groups `stream`, `h.0.attn` (heads), `h.0.mlp`, ...
        """
        return transformer_symmetry(module, tables=("wte", "wpe"))
