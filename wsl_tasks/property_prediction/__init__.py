"""Property prediction: read off its weights how well a network will do."""

from wsl_tasks.property_prediction.baselines import LayerStatisticsBoosting as LayerStatisticsBoosting
from wsl_tasks.property_prediction.baselines import LayerStatisticsRidge as LayerStatisticsRidge
from wsl_tasks.property_prediction.baselines import MeanPredictor as MeanPredictor
from wsl_tasks.property_prediction.task import PropertyPrediction as PropertyPrediction
