"""The architectures by name; a new one adds its file and one line here."""

from __future__ import annotations

from functools import lru_cache

import torch
from pydantic import ValidationError
from torch import Generator, nn

from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.cnn import CNN
from zoo.architectures.gpt import GPT
from zoo.architectures.mlp import MLP
from zoo.architectures.model_zoo_cnn import ModelZooCNN
from zoo.architectures.pinn import PINN
from zoo.architectures.residual import ResidualStack
from zoo.architectures.resnet import ResNet
from zoo.architectures.symmetries import Symmetry
from zoo.architectures.transformer import Transformer
from zoo.architectures.twins import Twins
from zoo.architectures.vit import ViT
from zoo.errors import SpecificationError, unknown_name
from zoo.spec import ArchitectureSpecification, DataShape, Layout, describe
from zoo.weights import layout_of

_REGISTRY: dict[str, Architecture] = {
    family.name: family
    for family in (
        MLP(),
        CNN(),
        ResNet(),
        ModelZooCNN(),
        Twins(),
        ResidualStack(),
        ViT(),
        GPT(),
        Transformer(),
        PINN(),
    )
}


def names() -> list[str]:
    """List the registered architectures.

    Returns:
        Their names, sorted.

    Example:
        >>> "mlp" in names()
        True
    """
    return sorted(_REGISTRY)


def _family(name: str) -> Architecture:
    if name not in _REGISTRY:
        raise unknown_name("architecture", name, _REGISTRY)
    return _REGISTRY[name]


def _options(architecture: ArchitectureSpecification) -> ArchitectureOptions:
    known = _family(architecture.name).options
    try:
        return known.model_validate(architecture.options)
    except ValidationError as error:
        raise SpecificationError(f"architecture {architecture.name!r}:\n{describe(error, known)}") from None


def options(architecture: ArchitectureSpecification) -> ArchitectureOptions:
    """Give an architecture's options with every default, those too that a specification leaves out.

    Args:
        architecture: Name and options.

    Returns:
        The options, each with its own type.

    Raises:
        UnknownNameError: No architecture has this name.
        SpecificationError: An option is unknown or out of range.
    """
    return _options(architecture)


def option_names(name: str) -> list[str]:
    """List the options of an architecture.

    Args:
        name: Registered name.

    Returns:
        Their names, in the order in which they are declared.

    Raises:
        UnknownNameError: No architecture has this name.

    Example:
        >>> option_names("mlp")[:3]
        ['width', 'depth', 'activation']
    """
    return list(_family(name).options.model_fields)


def resolve(architecture: ArchitectureSpecification) -> ArchitectureSpecification:
    """Check an architecture's options and write out its defaults.

    Args:
        architecture: Name and options, as a recipe gives them.

    Returns:
        The same with every option present, so that its hash does not depend on defaults.

    Raises:
        UnknownNameError: No architecture has this name.
        SpecificationError: An option is unknown or out of range.

    Example:
        >>> resolve(ArchitectureSpecification(name="mlp", width=8)).options
        {'width': 8, 'depth': 2, 'activation': 'relu'}
    """
    options = _options(architecture).model_dump(mode="json")
    return ArchitectureSpecification.model_validate({"name": architecture.name, **options})


def build(architecture: ArchitectureSpecification, data: DataShape) -> nn.Module:
    """Build a network; its weights carry no meaning until `initialise` or `load_state_dict`.

    Args:
        architecture: Name and options.
        data: Shape of the inputs, number of classes.

    Returns:
        The module.

    Raises:
        UnknownNameError: No architecture has this name.
        SpecificationError: An option is unknown or out of range.
    """
    return _family(architecture.name).build(_options(architecture), data)


def initialise(architecture: ArchitectureSpecification, module: nn.Module, generator: Generator) -> None:
    """Draw the initial weights of a network in place.

    Args:
        architecture: Name and options.
        module: What `build` made.
        generator: Source of all randomness.
    """
    _family(architecture.name).initialise(module, generator)


@lru_cache(maxsize=4096)
def _layout(architecture_json: str, data: DataShape) -> Layout:
    architecture = ArchitectureSpecification.model_validate_json(architecture_json)
    with torch.device("meta"):  # shapes alone: a layout costs no memory, however wide
        return layout_of(build(architecture, data), architecture.name)


def layout(architecture: ArchitectureSpecification, data: DataShape) -> Layout:
    """Give the layout of a network's weights.

    Args:
        architecture: Name and options.
        data: Shape of the inputs, number of classes.

    Returns:
        The layout; equal for all networks that can be stacked.

    Raises:
        UnknownNameError: No architecture has this name.
        SpecificationError: An option is unknown or out of range.

    Example:
        >>> layout(ArchitectureSpecification(name="mlp", width=8), DataShape((64,), 10)).size
        682
    """
    return _layout(resolve(architecture).model_dump_json(), data)


def symmetry(architecture: ArchitectureSpecification, data: DataShape) -> Symmetry:
    """Say which relabellings of a network's hidden units leave its function as it is.

    Args:
        architecture: Name and options.
        data: Shape of the inputs, number of classes.

    Returns:
        The symmetry, for the tensors of `layout(architecture, data)`.

    Raises:
        UnknownNameError: No architecture has this name.
        SpecificationError: An option is unknown or out of range.

    Example:
        >>> found = symmetry(ArchitectureSpecification(name="mlp", width=8), DataShape((64,), 10))
        >>> found.groups, found.shape("2.weight"), found.places("2")
        ({'0': 8, '2': 8}, (8, 8), {'2.weight': 0, '2.bias': 0, '4.weight': 1})
    """
    with torch.device("meta"):  # shapes alone
        return _family(architecture.name).symmetry(build(architecture, data))
