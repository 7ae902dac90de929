"""The page of the zoos says what the recipes say."""

import re
from pathlib import Path

import pytest

from generators import list_recipes

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "zoos.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("zoos")


def test_the_tables_of_recipes_are_up_to_date(script):
    assert script.replaced(PAGE, script.recipe_sections()) == PAGE, "run: python scripts/zoos.py zoos"


def test_a_page_without_a_place_for_a_section_is_refused(script):
    with pytest.raises(SystemExit, match="has no place for paper: expected <!-- begin paper -->"):
        script.replaced("nothing", {"paper": "x"})


def test_every_recipe_and_figure_is_there(script):
    assert all(f"`{name}`" in PAGE for name in list_recipes())
    figures = re.findall(r"\]\((figures/[^)]+)\)", PAGE)
    assert len(figures) >= 4
    assert all((ROOT / "docs" / figure).is_file() for figure in figures)
    assert set(script.DRAWN) <= set(list_recipes())
