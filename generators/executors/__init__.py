"""Where tasks are done: in this process, in one process a core, or on a Ray cluster."""

from generators.executors.base import AnyTask as AnyTask
from generators.executors.base import Done as Done
from generators.executors.base import Executor as Executor
from generators.executors.base import ExecutorName as ExecutorName
from generators.executors.base import Watch as Watch
from generators.executors.base import Work as Work
from generators.executors.base import perform as perform
