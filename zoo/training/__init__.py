"""The one training step that population training and fine-tuning share."""

# run
from zoo.training.forward import evaluate_logits as evaluate_logits
from zoo.training.forward import stack_logits as stack_logits

# train
from zoo.training.stack import OnEpoch as OnEpoch
from zoo.training.stack import StackData as StackData
from zoo.training.stack import epoch_order as epoch_order
from zoo.training.stack import train_stack as train_stack
from zoo.training.step import Hyperparameters as Hyperparameters
from zoo.training.step import gradients as gradients
from zoo.training.step import sgd_step as sgd_step
from zoo.training.streams import stream as stream
