"""The torch side of the door: what plugins that use torch import besides edgerec.plugin.

A compressor imports this inside ``compress``, a target inside ``lower``, never at module
level, so that listing plugins does not load torch.
"""

from edgerec.finetune import fine_tune, tune
from edgerec.quality import rank
from edgerec.ranking import Batch, batches, ranking_loss, scale_of
from edgerec.store import load_model
from edgerec.torch_artefact import TorchArtefact
from edgerec.twin import CodecTwin, Twin, apply_op

__all__ = [
    "Batch",
    "CodecTwin",
    "TorchArtefact",
    "Twin",
    "apply_op",
    "batches",
    "fine_tune",
    "load_model",
    "rank",
    "ranking_loss",
    "scale_of",
    "tune",
]
