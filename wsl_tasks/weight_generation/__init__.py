"""Weight generation: draw networks that are new and work."""

from wsl_tasks.weight_generation.baselines import Copy as Copy
from wsl_tasks.weight_generation.baselines import CopyNoise as CopyNoise
from wsl_tasks.weight_generation.baselines import HeldOut as HeldOut
from wsl_tasks.weight_generation.baselines import PCAGaussian as PCAGaussian
from wsl_tasks.weight_generation.novelty import Novelty as Novelty
from wsl_tasks.weight_generation.task import WeightGeneration as WeightGeneration
