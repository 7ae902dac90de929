"""How alike two networks are: in their logits and features, in their predictions, in their weights."""

# representations
from zoo.metrics.similarity.cka import CKASums as CKASums
from zoo.metrics.similarity.cka import linear_cka as linear_cka

# weights
from zoo.metrics.similarity.distances import ALIGNED_L2_DISTANCE as ALIGNED_L2_DISTANCE
from zoo.metrics.similarity.distances import L2_DISTANCE as L2_DISTANCE
from zoo.metrics.similarity.distances import aligned_l2_distance as aligned_l2_distance
from zoo.metrics.similarity.distances import l2_distance as l2_distance
from zoo.metrics.similarity.features import feature_networks as feature_networks
from zoo.metrics.similarity.mixup import mix as mix
from zoo.metrics.similarity.papers import PTMZ_CKA as PTMZ_CKA
from zoo.metrics.similarity.papers import YANG2021_CKA as YANG2021_CKA

# predictions
from zoo.metrics.similarity.predictions import DISAGREEMENT as DISAGREEMENT
from zoo.metrics.similarity.predictions import ERROR_IOU as ERROR_IOU
from zoo.metrics.similarity.predictions import disagreement as disagreement
from zoo.metrics.similarity.predictions import disagreements as disagreements
from zoo.metrics.similarity.predictions import error_iou as error_iou
from zoo.metrics.similarity.predictions import error_ious as error_ious
from zoo.metrics.similarity.standard import CKA as CKA
from zoo.metrics.similarity.standard import CKA_DEBIASED as CKA_DEBIASED
from zoo.metrics.similarity.standard import CKA_FEATURES as CKA_FEATURES
from zoo.metrics.similarity.standard import CKA_MIXUP as CKA_MIXUP

METRICS = (
    CKA,
    CKA_DEBIASED,
    CKA_FEATURES,
    CKA_MIXUP,
    DISAGREEMENT,
    ERROR_IOU,
    L2_DISTANCE,
    ALIGNED_L2_DISTANCE,
    PTMZ_CKA,
    YANG2021_CKA,
)
