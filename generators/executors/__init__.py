"""Where tasks are trained: in this process, in one process a core, or on a Ray cluster."""

from generators.executors.base import Executor as Executor
from generators.executors.base import Trained as Trained
from generators.executors.base import Watch as Watch
from generators.executors.base import train as train
