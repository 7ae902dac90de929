"""The Hessian of the loss: largest eigenvalues, trace and spectral density, of one network or a population.

All of them look at the mean cross-entropy over fixed items, in eval mode and in the type of the weights, with
respect to the entries that are trained. Random vectors come from seeded streams, the same for every network.
"""

from zoo.metrics.hessian.densities import Density as Density
from zoo.metrics.hessian.densities import spectral_density as spectral_density
from zoo.metrics.hessian.eigenvalues import top_eigenvalue as top_eigenvalue
from zoo.metrics.hessian.eigenvalues import top_eigenvalues as top_eigenvalues
from zoo.metrics.hessian.papers import PTMZ_HESSIAN as PTMZ_HESSIAN
from zoo.metrics.hessian.papers import YANG2021_HESSIAN as YANG2021_HESSIAN
from zoo.metrics.hessian.stored import HESSIAN as HESSIAN
from zoo.metrics.hessian.stored import HESSIAN_DENSITY as HESSIAN_DENSITY
from zoo.metrics.hessian.stored import HESSIAN_TEST as HESSIAN_TEST
from zoo.metrics.hessian.traces import Curvature as Curvature
from zoo.metrics.hessian.traces import Trace as Trace
from zoo.metrics.hessian.traces import curvature as curvature
from zoo.metrics.hessian.traces import trace as trace

METRICS = (HESSIAN, HESSIAN_TEST, HESSIAN_DENSITY, PTMZ_HESSIAN, YANG2021_HESSIAN)
