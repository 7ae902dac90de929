"""Averaging: make one better network, or one better vote, out of several."""

from wsl_tasks.averaging.baselines import BestMember as BestMember
from wsl_tasks.averaging.baselines import GreedySoup as GreedySoup
from wsl_tasks.averaging.baselines import LogitEnsemble as LogitEnsemble
from wsl_tasks.averaging.baselines import UniformSoup as UniformSoup
from wsl_tasks.averaging.task import Averaging as Averaging
