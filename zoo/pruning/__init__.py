"""How sparse each layer is to be made, and which of its weights go: AlphaPruning, with FARMS."""

from zoo.pruning.allocation import EPSILON as EPSILON
from zoo.pruning.allocation import MOST as MOST
from zoo.pruning.allocation import alpha_sparsities as alpha_sparsities
from zoo.pruning.allocation import farms_sparsities as farms_sparsities
from zoo.pruning.magnitude import prune_by_magnitude as prune_by_magnitude
