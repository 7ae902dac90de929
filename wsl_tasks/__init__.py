"""The questions: what can be learned from weights; tasks, evaluators, baselines, leaderboard."""

# baselines of averaging
from wsl_tasks.averaging import BestMember as BestMember
from wsl_tasks.averaging import GreedySoup as GreedySoup
from wsl_tasks.averaging import LogitEnsemble as LogitEnsemble
from wsl_tasks.averaging import UniformSoup as UniformSoup

# compare results
from wsl_tasks.leaderboard import leaderboard as leaderboard
from wsl_tasks.leaderboard import to_markdown as to_markdown

# write a method
from wsl_tasks.methods import Members as Members
from wsl_tasks.methods import Merger as Merger
from wsl_tasks.methods import Predictor as Predictor
from wsl_tasks.methods import Sampler as Sampler

# baselines of property prediction
from wsl_tasks.property_prediction import LayerStatisticsBoosting as LayerStatisticsBoosting
from wsl_tasks.property_prediction import LayerStatisticsRidge as LayerStatisticsRidge
from wsl_tasks.property_prediction import MeanPredictor as MeanPredictor

# find a task, evaluate on it
from wsl_tasks.registry import get_task as get_task
from wsl_tasks.registry import list_tasks as list_tasks
from wsl_tasks.result import Result as Result
from wsl_tasks.result import Score as Score
from wsl_tasks.task import Task as Task
from wsl_tasks.task import TaskMetadata as TaskMetadata

# baselines of weight generation
from wsl_tasks.weight_generation import Copy as Copy
from wsl_tasks.weight_generation import CopyNoise as CopyNoise
from wsl_tasks.weight_generation import PCAGaussian as PCAGaussian
