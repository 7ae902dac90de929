"""TempBalance: learning rates layer by layer, from how heavy the tails of their spectra are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import unknown_name
from zoo.spec import Layout, TrainingSpecification
from zoo.spectra import FEWEST, Windows, fit_power_law, windowed_eigenvalues
from zoo.spectra.measures import averaged, full_eigenvalues
from zoo.weights import unflatten

Method = Literal["full", "farms"]
"""Exponents of whole matrices, or of FARMS windows."""
METHODS: tuple[Method, ...] = ("full", "farms")


def learning_rate_factors(
    weights: Float[Tensor, "models params"], layout: Layout, training: Sequence[TrainingSpecification]
) -> Float[Tensor, "models trained"]:
    """Give each trained parameter the factor on its learning rate, from the weights at an epoch's start.

    As `rate_factors` has it for weights. Biases follow the weight of their name, gain and shift of a batch
    norm the weight before them in the layout; all others keep 1. So does a network with a number that is not
    finite.

    Args:
        weights: `(n_models, n_params)`.
        layout: Their layout.
        training: How each is trained: `temp_balance` and `temp_balance_spread` count.

    Returns:
        `(n_models, n_trained)`, the layout without its buffers, in the type and on the device of `weights`.
    """
    names = [entry.name for entry in layout.entries if entry.kind == "weight"]
    # the last column belongs to no weight
    alphas = torch.full((len(training), len(names) + 1), torch.nan, dtype=torch.float64)
    for method in METHODS:
        rows = [row for row, one in enumerate(training) if one.temp_balance == method]
        if rows:
            alphas[rows, :-1] = layer_alphas(weights[rows], layout, method)
    spreads = alphas.new_tensor([[one.temp_balance_spread] for one in training])
    sizes = torch.tensor([entry.size for entry in layout.entries if entry.kind != "buffer"])
    places = [names.index(name) if name else -1 for name in followed(layout)]
    return rate_factors(alphas, spreads)[:, places].repeat_interleave(sizes, dim=1).to(weights)


def layer_alphas(
    weights: Float[Tensor, "models params"], layout: Layout, method: Method
) -> Float[Tensor, "models layers"]:
    """Fit the tail of each weight's spectrum, from its median on.

    Args:
        weights: `(n_models, n_params)`.
        layout: Their layout.
        method: Which eigenvalues.

    Returns:
        Exponents `(n_models, n_layers)` of the entries of kind weight, float64 on the CPU; NaN where
        undefined (see `fit_power_law`), and for a network with a number that is not finite.

    Raises:
        UnknownNameError: There is no such method.

    Example:
        >>> from zoo.spec import LayoutEntry
        >>> layout = Layout(architecture="mlp", entries=[
        ...     LayoutEntry(name="0.weight", shape=(40, 40), kind="weight"),
        ...     LayoutEntry(name="2.weight", shape=(2, 40), kind="weight")])
        >>> diagonal = torch.arange(0.5, 40).reciprocal().sqrt()  # eigenvalues of a density x^-2
        >>> weights = torch.cat([diagonal.diag().flatten(), torch.ones(80)])
        >>> layer_alphas(weights[None], layout, "full").round(decimals=1)
        tensor([[2., nan]], dtype=torch.float64)
    """
    weights = (
        weights.detach().cpu()
    )  # eigenvalues of small matrices are faster there, and the same everywhere
    finite = weights.isfinite().all(dim=1)
    tensors = unflatten(weights, layout)
    found = [_alpha(tensors[e.name], method) for e in layout.entries if e.kind == "weight"]
    alphas = torch.stack(found, dim=1) if found else weights.new_empty((len(weights), 0)).double()
    return torch.where(finite.unsqueeze(1), alphas, torch.nan)


def _alpha(weight: Float[Tensor, "*shape"], method: str) -> Float[Tensor, " models"]:
    return averaged(fit_power_law(_eigenvalues(weight, method))).alpha


def _eigenvalues(weight: Float[Tensor, "*shape"], method: str) -> Float[Tensor, "models fits numbers"]:
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if weight.ndim < 3:  # a vector has no spectrum
        return weight.new_empty((len(weight), 1, 0), dtype=torch.float64)
    # one leading dimension and two or four of the layer: no doubt about what a kernel is
    parts = weight if weight.ndim == 5 else weight.flatten(2)
    return (
        full_eigenvalues(parts).unsqueeze(1) if method == "full" else windowed_eigenvalues(parts, Windows())
    )


def rate_factors(
    alphas: Float[Tensor, "models layers"], spreads: Float[Tensor, "models 1"]
) -> Float[Tensor, "models layers"]:
    """Map exponents to factors on the learning rate as Zhou et al. 2023 do: `s1 + share (s2 - s1)`.

    `share` is where a layer lies between the smallest and the largest exponent of its network, s1 is
    `1 - spread` and s2 `1 + spread`: a lighter tail, a larger exponent, speaks of a layer that has learnt
    less, which gets the larger rate.

    Args:
        alphas: Exponents; NaN where undefined.
        spreads: In (0, 1].

    Returns:
        In [1 - spread, 1 + spread]; 1 where the exponent is undefined, and for a network with fewer than two
        different ones.

    Example:
        >>> alphas = torch.tensor([[2.0, 4.0, 3.0, torch.nan], [2.0, 2.0, 2.0, torch.nan]])
        >>> rate_factors(alphas, torch.tensor([[0.5], [0.5]]))
        tensor([[0.5000, 1.5000, 1.0000, 1.0000],
                [1.0000, 1.0000, 1.0000, 1.0000]])
    """
    known = alphas.isfinite()
    low = torch.where(known, alphas, torch.inf).amin(dim=1, keepdim=True)
    high = torch.where(known, alphas, -torch.inf).amax(dim=1, keepdim=True)
    share = (alphas - low) / (high - low)
    return torch.where(known & (high > low), 1 + spreads * (2 * share - 1), 1.0)


def followed(layout: Layout) -> list[str | None]:
    """Say which weight each trained entry shares its learning rate with.

    Args:
        layout: The layout.

    Returns:
        For each entry but buffers the name of a weight, its own for a weight; nothing for layer norms and
        what else stands alone.

    Example:
        >>> from torch import nn
        >>> from zoo.weights import layout_of
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.LayerNorm(3))
        >>> followed(layout_of(network, "test"))
        ['0.weight', '0.weight', '0.weight', '0.weight', None, None]
    """
    weights = {entry.name for entry in layout.entries if entry.kind == "weight"}
    batch_norms = {_prefix(entry.name) for entry in layout.entries if entry.name.endswith("running_mean")}
    found: list[str | None] = []
    last = None
    for entry in layout.entries:
        if entry.kind == "weight":
            last = entry.name
        own = {
            "weight": entry.name,
            "bias": entry.name.removesuffix("bias") + "weight",
            "norm": last if _prefix(entry.name) in batch_norms else None,
        }
        if entry.kind != "buffer":
            found.append(own[entry.kind] if own[entry.kind] in weights else None)
    return found


def _prefix(name: str) -> str:
    return name.rpartition(".")[0]


def measurable(layout: Layout, method: Method) -> list[str]:
    """Say which weights are large enough for an exponent; it takes two of them to balance rates.

    Args:
        layout: The layout.
        method: Which eigenvalues.

    Returns:
        Names of weights with enough eigenvalues for a fit.

    Raises:
        UnknownNameError: There is no such method.

    Example:
        >>> from torch import nn
        >>> from zoo.weights import layout_of
        >>> layout = layout_of(nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 10)), "test")
        >>> measurable(layout, "full"), measurable(layout, "farms")
        (['0.weight'], ['0.weight', '1.weight'])
    """
    shapes = {entry.name: entry.shape for entry in layout.entries if entry.kind == "weight"}
    with torch.device("meta"):  # shapes alone
        counts = {name: _eigenvalues(torch.empty(1, *s), method).shape[-1] for name, s in shapes.items()}
    return [name for name, count in counts.items() if count >= FEWEST]
