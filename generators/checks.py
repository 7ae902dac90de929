"""What a recipe's values must be together, found out from as few specifications as can tell."""

from __future__ import annotations

from collections.abc import Sequence

from generators.axes import PARTS, Range
from generators.description import Recipe
from generators.lazy import Cells
from generators.rounds import check_refinement
from generators.sampling import GridSampling
from zoo import architectures, datasets
from zoo.errors import SpecificationError
from zoo.spec import Layout, TrainingSpecification
from zoo.spectra import FEWEST
from zoo.training.balance import METHODS, measurable

MOST_CHECKED = 2000
"""Combinations that are checked when a recipe is loaded; where there are more, planning checks them."""
_OF_INITIAL_WEIGHTS = ("init_scale", "init_rank")
_BALANCE = "training.temp_balance"
_MOST_BUILT = 256
"""Networks whose shapes are built when a recipe is loaded; planning builds all."""

ALONE = frozenset(
    {
        "dataset.label_noise",
        "dataset.noise_seed",
        "dataset.fraction",
        "dataset.subset_seed",
        "training.learning_rate",
        "training.weight_decay",
        "training.batch_size",
        "training.decay_factor",
        "training.beta1",
        "training.beta2",
        "training.epsilon",
        "training.sam_radius",
        "training.temp_balance",
        "training.temp_balance_spread",
        "training.gradient_clip",
        "training.init_scale",
        "training.precision",
        "training.loss_bound",
        "fork.learning_rate",
        "fork.weight_decay",
        "fork.trunk_seed",
    }
)
"""Fields whose values no other field forbids: a value that is good in one cell is good in all."""


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe with a cell that cannot be trained, or with an axis that changes nothing.

    Every value of each axis is tried, and every combination of those that can forbid each other, unless there
    are very many: `plan` tries these.

    Args:
        recipe: The recipe.

    Raises:
        SpecificationError: What is wrong.
        UnknownNameError: A dataset, architecture, parent zoo or checkpoint is not there.
    """
    check_mixtures(recipe)
    _check_initial(recipe)
    cells = Cells(recipe)
    for axis, field in enumerate(cells.fields):
        if not isinstance(recipe.axes.fields[field], Range):
            _check_use(cells, axis, field)
    beyond = [epoch for epoch in recipe.kept_epochs(0) if epoch > cells.shortest]
    if beyond:
        raise SpecificationError(f"checkpoints {beyond} lie after the last epoch {cells.shortest}")
    check_combinations(cells, at_most=MOST_CHECKED)
    _, firsts = cells.combinations(cells.places(_shapes_networks))
    specs = [cells.specification(first, recipe.seeds[0]) for first in firsts.tolist()[:_MOST_BUILT]]
    _check_balance(recipe, [architectures.layout(s.architecture, datasets.shape(s.dataset)) for s in specs])
    if recipe.refine is not None:
        check_refinement(recipe.refine, cells)


def _shapes_networks(field: str) -> bool:
    return field.startswith(("architecture.", "dataset.")) and field not in ALONE


def _check_use(cells: Cells, axis: int, field: str) -> None:
    """Refuse an axis of training that changes nothing: under any value in a grid, else under all."""
    part, _, key = field.partition(".")
    if part not in {"training", "dataset"}:
        return
    specs = [cells.specification(first, cells.recipe.seeds[0]) for first in cells.firsts(axis)]
    if part == "dataset":
        _check_seed(cells, field)
        return
    idle = [spec.training for spec in specs if key in spec.training.unused]
    if idle and (isinstance(cells.recipe.sampling, GridSampling) or len(idle) == len(specs)):
        raise SpecificationError(
            f"the axis {field} would change nothing: {_why_idle(idle[0], key)}, so cells would be copies of "
            "each other"
        )


def _why_idle(training: TrainingSpecification, key: str) -> str:
    if key == "adversarial_steps":
        return "adversarial_epsilon is 0, which moves no inputs"
    if key == "temp_balance_spread":
        return "temp_balance is none, so all layers have one rate"
    return f"{training.optimizer} under the schedule {training.schedule} does not use it"


def _check_balance(recipe: Recipe, layouts: Sequence[Layout]) -> None:
    """Refuse rates layer by layer where networks are too small for them: any of a grid, else all."""
    given = recipe.axes.fields.get(_BALANCE, (recipe.training.get("temp_balance", "none"),))
    for method in METHODS:
        if isinstance(given, Range) or method not in given:
            continue
        small = [found for layout in layouts if len(found := measurable(layout, method)) < 2]
        if small and (isinstance(recipe.sampling, GridSampling) or len(small) == len(layouts)):
            raise SpecificationError(
                f"temp_balance {method} would change nothing: it takes two weights with at least {FEWEST} "
                f"eigenvalues, and a network has {' and '.join(small[0]) or 'none'}; take wider networks, or "
                "leave temp_balance out"
            )


def _check_initial(recipe: Recipe) -> None:
    """Refuse what is done to initial weights where a parent's weights stand in their place."""
    fields = recipe.axes.fields
    if not recipe.parent and not any(field.startswith("parent.") for field in fields):
        return
    for key in _OF_INITIAL_WEIGHTS:
        field, default = f"training.{key}", TrainingSpecification.model_fields[key].default
        if field in fields or recipe.training.get(key, default) != default:
            raise SpecificationError(
                f"{field} would change nothing: networks with a parent begin at its weights, not at initial "
                f"ones; leave {key} out, or the parent"
            )


def _check_seed(cells: Cells, field: str) -> None:
    """Refuse seeds of a choice that no cell makes: wrong labels where there are none, a share that is all."""
    decided_by, all_alike = {
        "dataset.noise_seed": ("label_noise", 0),
        "dataset.subset_seed": ("fraction", 1),
    }.get(field, ("", None))
    if not decided_by:
        return
    recipe = cells.recipe
    values = recipe.axes.fields.get(f"dataset.{decided_by}", (recipe.dataset.get(decided_by, all_alike),))
    if not isinstance(values, Range) and all(value == all_alike for value in values):
        raise SpecificationError(
            f"the axis {field} would change nothing: {decided_by} is {all_alike} in every cell, so cells "
            "would be copies of each other"
        )


def check_combinations(cells: Cells, *, at_most: int | None = None) -> None:
    """Refuse values that do not go together, such as more epochs of warm-up than epochs.

    Args:
        cells: The cells.
        at_most: Leave out what takes more combinations than this; nothing to leave nothing out.

    Raises:
        SpecificationError: Two values do not go together.
    """
    related = cells.places(lambda field: field not in ALONE)
    if _check(cells, related, MOST_CHECKED):
        return
    network = cells.places(
        lambda f: f not in ALONE and f.startswith(("architecture.", "dataset.", "parent."))
    )
    training = cells.places(
        lambda f: f not in ALONE and (f.startswith(("training.", "fork.", "parent.")) or f == "dataset.name")
    )
    for group in (network, training):
        _check(cells, group, at_most)


def _check(cells: Cells, axes: Sequence[int], at_most: int | None) -> bool:
    """Try every combination of some axes' values; say whether that was done."""
    _, firsts = cells.combinations(axes)
    if at_most is not None and len(firsts) > at_most:
        return False
    for first in firsts.tolist():
        cells.specification(first, cells.recipe.seeds[0])
    return True


def check_mixtures(recipe: Recipe) -> None:
    """Refuse architectures without the axes that a recipe has, and datasets that ask different things.

    Args:
        recipe: The recipe.

    Raises:
        SpecificationError: An axis is no option of one of the architectures, or datasets are of two kinds.
        UnknownNameError: A dataset or architecture is not there.
    """
    names = _names(recipe, "architecture")
    options = {name: architectures.option_names(name) for name in names}
    common = [option for option in options[names[0]] if all(option in known for known in options.values())]
    axes = [f for f in recipe.axes.fields if f.startswith("architecture.") and f != "architecture.name"]
    for field in axes if len(names) > 1 else ():
        lacking = [name for name in names if field.partition(".")[2] not in options[name]]
        if lacking:
            raise SpecificationError(
                f"the axis {field} is no option of the architecture {lacking[0]!r}; all of "
                f"{', '.join(names)} have {', '.join(common) or 'none in common'}: take one of these, "
                "or make a recipe for each architecture"
            )
    kinds = {name: datasets.family(name).kind for name in _names(recipe, "dataset")}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise SpecificationError(
            f"the datasets ask different things of a network: {found}; a recipe has one kind, so that its "
            "networks can be compared: make a recipe for each"
        )


def _names(recipe: Recipe, part: str) -> list[str]:
    """List the names that a part takes; none yet where it is missing, which reading a cell tells."""
    assert part in PARTS
    given = recipe.axes.fields.get(f"{part}.name", getattr(recipe, part).get("name"))
    return [str(name) for name in given] if isinstance(given, tuple) else [str(given)]
