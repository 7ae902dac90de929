"""What can be measured on trained networks: one file a family, pure functions beside the stored metric."""

# families
from zoo.metrics import connectivity as connectivity
from zoo.metrics import evaluation as evaluation
from zoo.metrics import farms as farms
from zoo.metrics import hessian as hessian
from zoo.metrics import norms as norms
from zoo.metrics import similarity as similarity
from zoo.metrics import solution as solution
from zoo.metrics import spectrum as spectrum

# what every metric takes and gives
from zoo.metrics.base import KEY_COLUMNS as KEY_COLUMNS
from zoo.metrics.base import PROPERTIES as PROPERTIES
from zoo.metrics.base import Measurement as Measurement
from zoo.metrics.base import Metric as Metric
from zoo.metrics.base import Scope as Scope
from zoo.metrics.base import Series as Series
from zoo.metrics.base import Subject as Subject
from zoo.metrics.base import Suite as Suite
from zoo.metrics.base import applicable_properties as applicable_properties
from zoo.metrics.base import measured as measured
from zoo.metrics.pairing import model_pairs as model_pairs

# look up
from zoo.metrics.registry import all_metrics as all_metrics
from zoo.metrics.registry import get as get
