"""The makers: from a recipe to trained, measured, stored populations."""

# plan
from generators.estimate import dry_run as dry_run
from generators.estimate import estimate as estimate

# make and measure
from generators.executors.local import LocalExecutor as LocalExecutor
from generators.generation import generate as generate
from generators.labelling import label as label
from generators.measurement import measure as measure
from generators.recipe import Recipe as Recipe
from generators.recipe import list_recipes as list_recipes
from generators.recipe import load_recipe as load_recipe
