"""FARMS: the exponent of a layer's spectrum, measured on submatrices of one aspect ratio (Hu et al. 2025)."""

from zoo.metrics.farms.measure import alpha as alpha
from zoo.metrics.farms.measure import eigenvalues as eigenvalues
from zoo.metrics.farms.measure import power_law as power_law
from zoo.metrics.farms.report import report as report
from zoo.metrics.farms.stored import FARMS as FARMS
from zoo.metrics.farms.stored import FARMS_PAPER as FARMS_PAPER

METRICS = (FARMS, FARMS_PAPER)
