"""The phases of networks: rules, labels, rules for new zoos, transitions. Tables in, tables out; no torch."""

# a rule for another zoo
from zoo.phases.calibration import calibrate as calibrate
from zoo.phases.calibration_report import Calibration as Calibration
from zoo.phases.calibration_report import CutReport as CutReport

# which metrics go along with accuracy
from zoo.phases.correlation import correlations as correlations

# label
from zoo.phases.labels import MEMBERSHIPS as MEMBERSHIPS
from zoo.phases.labels import PHASE_COLUMNS as PHASE_COLUMNS
from zoo.phases.labels import label as label

# transitions along an axis
from zoo.phases.order import transitions as transitions

# rules
from zoo.phases.rule import PHASES as PHASES
from zoo.phases.rule import Criterion as Criterion
from zoo.phases.rule import PhaseRule as PhaseRule
from zoo.phases.rule import get_rule as get_rule
from zoo.phases.rule import list_rules as list_rules
