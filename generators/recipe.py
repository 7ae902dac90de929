"""Recipes: a population described in one YAML file, checked whole before anything is trained."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from generators.axes import axis_name
from generators.checks import check_recipe
from generators.description import Recipe, SeedPair
from zoo.errors import SpecificationError, UnknownNameError, ZooError, unknown_name
from zoo.spec import describe

__all__ = ["Recipe", "SeedPair", "axis_name", "list_recipes", "load_recipe"]
_MAX_RECIPE_BYTES = 1 << 20


def list_recipes() -> list[str]:
    """List the recipes that come with the package.

    Returns:
        Their names, sorted.

    Example:
        >>> "digits-mlp-demo" in list_recipes()
        True
    """
    folder = resources.files("generators") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_recipe(source: str | Path) -> Recipe:
    """Load a recipe and check every value on its axes.

    Args:
        source: Name of a recipe that comes with the package, or a YAML file.

    Returns:
        The recipe.

    Raises:
        UnknownNameError: No such recipe or file.
        SpecificationError: Broken YAML, an unknown key, a value out of range, an empty axis, values that do
            not go together.

    Example:
        >>> load_recipe("digits-mlp-demo").seeds
        (0, 1, 2)
    """
    text, origin = _read(source)
    try:
        recipe = Recipe.model_validate(_parse(text, origin))
    except ValidationError as error:
        raise SpecificationError(f"{origin} is not a recipe:\n{describe(error, Recipe)}") from None
    try:
        check_recipe(recipe)
    except ZooError as error:
        raise SpecificationError(f"{origin}: {error}") from None
    return recipe


def _read(source: str | Path) -> tuple[str, str]:
    if str(source) in list_recipes():
        file = resources.files("generators") / "recipes" / f"{source}.yaml"
        return file.read_text(encoding="utf-8"), f"recipe {source}"
    path = Path(source)
    if not path.is_file():
        way_out = "(or give the path of a YAML file)"
        if path.suffix in {".yaml", ".yml"}:
            raise UnknownNameError(f"there is no file {path.absolute()}; expected a recipe in YAML there")
        raise unknown_name("recipe", str(source), list_recipes(), way_out=way_out)
    if path.stat().st_size > _MAX_RECIPE_BYTES:
        raise SpecificationError(f"{path} has {path.stat().st_size:,} bytes; a recipe has at most 1 MiB")
    return path.read_text(encoding="utf-8", errors="replace"), str(path)


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases, which can blow up, and without keys that stand twice."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("a recipe has no aliases (*name)")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"the key {', '.join(sorted(twice))} stands twice")
        return super().construct_mapping(node, deep)


def _parse(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecificationError(f"{origin} is not valid YAML: {error}") from None
