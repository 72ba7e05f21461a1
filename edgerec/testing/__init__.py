"""Contract suites for plugin authors, for every codec, compressor, target and GNN family.

    from edgerec.testing import check_target

    def test_my_target(tmp_path):
        check_target(MyTarget(), tmp_path)

Each raises an AssertionError that describes the fault. Only ``check_family`` needs torch.
"""

from edgerec.testing.contracts import CORE_CODECS, check_codec, check_compressor, check_target
from edgerec.testing.datasets import example_dataset
from edgerec.testing.families import check_family
from edgerec.testing.models import adverse_models, example_models

__all__ = [
    "CORE_CODECS",
    "adverse_models",
    "check_codec",
    "check_compressor",
    "check_family",
    "check_target",
    "example_dataset",
    "example_models",
]
