"""The one training step that population training and fine-tuning share."""

from zoo.training import optimizers as optimizers
from zoo.training.augmentation import Augmentation as Augmentation
from zoo.training.convection import convection as convection
from zoo.training.forward import evaluate_logits as evaluate_logits
from zoo.training.forward import stack_logits as stack_logits
from zoo.training.kinds import OBJECTIVES as OBJECTIVES
from zoo.training.network import StackNetwork as StackNetwork
from zoo.training.networks import NetworkStack as NetworkStack
from zoo.training.objectives import Objective as Objective
from zoo.training.objectives import cross_entropy as cross_entropy
from zoo.training.stack import OnEpoch as OnEpoch
from zoo.training.stack import Row as Row
from zoo.training.stack import StackData as StackData
from zoo.training.stack import StackTrainer as StackTrainer
from zoo.training.stack import epoch_order as epoch_order
from zoo.training.stack import train_stack as train_stack
from zoo.training.streams import stream as stream
