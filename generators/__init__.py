"""The makers: from a recipe to trained, measured, stored populations."""

# recipes
from generators.generation import dry_run as dry_run

# make and measure
from generators.generation import generate as generate
from generators.measurement import measure as measure
from generators.recipe import Recipe as Recipe
from generators.recipe import list_recipes as list_recipes
from generators.recipe import load_recipe as load_recipe
