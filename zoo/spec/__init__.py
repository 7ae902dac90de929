"""What a zoo is made of, as typed records: specification, layout, columns, manifest. No torch here."""

from zoo.spec.columns import CORE_COLUMNS as CORE_COLUMNS
from zoo.spec.columns import KEYS as KEYS
from zoo.spec.columns import Column as Column
from zoo.spec.columns import TableName as TableName
from zoo.spec.hashing import canonical_json as canonical_json
from zoo.spec.hashing import digest as digest
from zoo.spec.layout import Layout as Layout
from zoo.spec.layout import LayoutEntry as LayoutEntry
from zoo.spec.manifest import FORMAT_VERSION as FORMAT_VERSION
from zoo.spec.manifest import Axis as Axis
from zoo.spec.manifest import Counts as Counts
from zoo.spec.manifest import FileRecord as FileRecord
from zoo.spec.manifest import Manifest as Manifest
from zoo.spec.manifest import Protocol as Protocol
from zoo.spec.manifest import check_path as check_path
from zoo.spec.manifest import describe as describe
from zoo.spec.manifest import parse_json as parse_json
from zoo.spec.specification import ArchitectureSpecification as ArchitectureSpecification
from zoo.spec.specification import DatasetSpecification as DatasetSpecification
from zoo.spec.specification import DataShape as DataShape
from zoo.spec.specification import ModelSpecification as ModelSpecification
from zoo.spec.specification import SeedSpecification as SeedSpecification
from zoo.spec.specification import TrainingSpecification as TrainingSpecification
from zoo.spec.specification import cell_id as cell_id
from zoo.spec.specification import checkpoint_id as checkpoint_id
from zoo.spec.specification import model_id as model_id
