"""Networks that populations are made of, rebuilt from a specification."""

from zoo.architectures.base import Architecture as Architecture
from zoo.architectures.base import ArchitectureOptions as ArchitectureOptions
from zoo.architectures.registry import build as build
from zoo.architectures.registry import initialise as initialise
from zoo.architectures.registry import layout as layout
from zoo.architectures.registry import names as names
from zoo.architectures.registry import option_names as option_names
from zoo.architectures.registry import options as options
from zoo.architectures.registry import resolve as resolve
from zoo.architectures.registry import symmetry as symmetry
from zoo.architectures.symmetries import Permutations as Permutations
from zoo.architectures.symmetries import Symmetry as Symmetry
from zoo.architectures.symmetries import permute as permute
from zoo.spec import DataShape as DataShape
