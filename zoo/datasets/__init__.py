"""Data that networks are trained on: resident tensors, fixed splits, a licence and a hash."""

from zoo.datasets.base import Dataset as Dataset
from zoo.datasets.base import DatasetFamily as DatasetFamily
from zoo.datasets.base import DatasetOptions as DatasetOptions
from zoo.datasets.base import Items as Items
from zoo.datasets.base import Kind as Kind
from zoo.datasets.base import PlainDataset as PlainDataset
from zoo.datasets.base import Sizes as Sizes
from zoo.datasets.base import as_inputs as as_inputs
from zoo.datasets.registry import family as family
from zoo.datasets.registry import load as load
from zoo.datasets.registry import names as names
from zoo.datasets.registry import options as options
from zoo.datasets.registry import residence as residence
from zoo.datasets.registry import resolve as resolve
from zoo.datasets.registry import shape as shape
from zoo.datasets.registry import sizes as sizes
from zoo.datasets.registry import used as used
