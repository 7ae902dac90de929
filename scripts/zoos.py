"""Write what docs/zoos.md shows: tables of the recipes, and figures and numbers of zoos that were generated.

    python scripts/zoos.py zoos      # after `phasezoo generate NAME --out zoos/NAME` for each recipe of ours

Everything between the marks `<!-- begin X -->` and `<!-- end X -->` of the page is replaced.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import matplotlib as mpl
from zoo_figures import DRAWN

import zoo
from generators import list_recipes, load_recipe
from generators.grid import count_models
from generators.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "zoos.md"
PAPER = "2504.18072"


def main() -> None:
    """Rewrite the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "zoos", type=Path, help="folder with the generated zoos, each in a folder of its name"
    )
    place = parser.parse_args().zoos
    mpl.use("Agg")
    sections = recipe_sections()
    for name, draw in DRAWN.items():
        opened = zoo.open(place / name) if (place / name).is_dir() else None
        if opened is None or not opened.manifest.complete or not _is_measured(opened):
            print(f"{name}: not whole in {place}, its section stays as it is")
            continue
        try:
            sections[name] = draw(opened)
        except KeyError as missing:
            print(f"{name}: lacks {missing}; run phasezoo measure {place / name}")
            continue
        print(f"{name}: drawn")
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), sections), encoding="utf-8")


def _is_measured(z: zoo.Zoo) -> bool:
    return any(protocol.metric in {"evaluation", "solution"} for protocol in z.manifest.protocols.values())


def replaced(text: str, sections: dict[str, str]) -> str:
    """Put sections between their marks.

    Args:
        text: The page.
        sections: New text by name.

    Returns:
        The new page.
    """
    for name, body in sections.items():
        marks = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not marks.search(text):
            raise SystemExit(f"{PAGE} has no place for {name}: expected <!-- begin {name} --> and its end")
        text = marks.sub(lambda found, body=body: f"{found[1]}{body.strip()}\n{found[2]}", text)
    return text


# recipes


def recipe_sections() -> dict[str, str]:
    """Describe the recipes as they are.

    Returns:
        Tables of the paper's and of our recipes, and the paper's notes.
    """
    loaded = [load_recipe(name) for name in list_recipes()]
    paper = [recipe for recipe in loaded if PAPER in (recipe.source or "") and recipe.notes]
    ours = [recipe for recipe in loaded if recipe not in paper]
    alike: dict[str, list[str]] = {}
    for recipe in paper:
        alike.setdefault(" ".join(recipe.notes), []).append(f"`{recipe.name}`")
    notes = [f"- {', '.join(names)}: {text}" for text, names in alike.items()]
    return {"paper": recipe_table(paper), "ours": recipe_table(ours), "notes": "\n".join(notes)}


def recipe_table(recipes: list[Recipe]) -> str:
    """List recipes with their axes.

    Args:
        recipes: The recipes.

    Returns:
        A Markdown table.
    """
    rows = ["| recipe | networks | load | temperature | other axes | seeds |", "|---|---:|---|---|---|---:|"]
    for recipe in recipes:
        axes = [_axes_text(fields) for fields in recipe.axes.kinds.values()]
        count = f"{count_models(recipe):,}"
        rows.append(f"| `{recipe.name}` | {count} | {' | '.join(axes)} | {len(recipe.seeds)} |")
    return "\n".join(rows)


def _axes_text(fields: dict) -> str:
    shown = []
    for field, values in fields.items():
        listed = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
        span = (
            ", ".join(listed) if len(listed) <= 11 else f"{listed[0]} to {listed[-1]}, {len(listed)} values"
        )
        shown.append(f"{field.rpartition('.')[2]}: {span}" if len(listed) > 1 else "")
    return "; ".join(filter(None, shown)) or "-"


if __name__ == "__main__":
    main()
