"""How two networks are connected: barriers on the straight line, and curves that go around them."""

from zoo.metrics.connectivity.curve import Curve as Curve
from zoo.metrics.connectivity.curve import barrier as barrier
from zoo.metrics.connectivity.curve import mode_connectivity as mode_connectivity
from zoo.metrics.connectivity.fitting import QUADRATIC as QUADRATIC
from zoo.metrics.connectivity.fitting import Fit as Fit
from zoo.metrics.connectivity.linear import linear_barrier as linear_barrier
from zoo.metrics.connectivity.modes import BezierCurves as BezierCurves
from zoo.metrics.connectivity.modes import bezier as bezier
from zoo.metrics.connectivity.statistics import refit_statistics as refit_statistics
from zoo.metrics.connectivity.stored import METRICS as METRICS
