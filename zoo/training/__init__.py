"""The one training step that population training and fine-tuning share."""

from zoo.training.forward import evaluate_logits as evaluate_logits
from zoo.training.forward import stack_logits as stack_logits
from zoo.training.streams import stream as stream
