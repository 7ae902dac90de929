"""The population engine: from a task to trained, recorded stacks."""

from generators.engine.population import Interrupted as Interrupted
from generators.engine.population import train_task as train_task
from generators.engine.task import Hooks as Hooks
from generators.engine.task import Progress as Progress
from generators.engine.task import Task as Task
from generators.engine.task import TaskSettings as TaskSettings
