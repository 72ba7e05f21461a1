r"""distill: teach a narrower student the lists of its teacher.

The student's loss has two parts: the items that users have, leaving out one at a time, and the soft
labels that the teacher assigns to a sample of the items that they do not have:

    L_rank + soft · H(softmax(t / T), softmax(s / T)),    softmax(z / T)_i = exp(z_i / T) / Σ_j …

(Hinton, Vinyals & Dean, 2015; for rankings Tang & Wang, KDD 2018). The usual factor T² is left out
of the second part, because T does not change. A low T emphasizes the top of the list, which is all
that is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from edgerec.plugin import CompressError, Compressor, Context, DeviceModel, OptionError, hookimpl

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class Distill(Compressor):
    """Train a student with narrow fp32 tables on soft labels; quantize it afterwards.

    The teacher is the model itself, or other models of the same catalogue, such as wider ones or an
    ensemble. Because distillation tends to favor popular items, the share of long-tail items before
    and after is recorded in ``metadata["distill"]``.
    """

    name: ClassVar[str] = "distill"

    width: int = field(default=16, metadata={"help": "width of the student's tables"})
    teacher: tuple[str, ...] = field(
        default=(),
        metadata={"help": "saved models to learn from, joined by +; by default, the model itself"},
    )
    temperature: float = field(default=0.1, metadata={"help": "T of the soft labels, on cosines"})
    soft: float = field(
        default=20.0, metadata={"help": "weight of the soft labels relative to left-out items"}
    )
    epochs: int = field(default=12, metadata={"help": "number of passes over the users"})
    candidates: int = field(default=4096, metadata={"help": "items per list, sampled in each step"})
    learning_rate: float = field(default=0.01, metadata={"help": "initial step size of Adam"})

    def __post_init__(self) -> None:
        for name, least in (("width", 2), ("epochs", 1), ("candidates", 2)):
            if getattr(self, name) < least:
                raise OptionError(
                    f"distill.{name}: expected at least {least}, got {getattr(self, name)}"
                )
        for name in ("temperature", "learning_rate", "soft"):
            if not getattr(self, name) > 0:
                raise OptionError(
                    f"distill.{name}: expected a positive number, got {getattr(self, name)}"
                )

    @property
    def trains(self) -> bool:
        """Always: the student starts from nothing."""
        return True

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Make a student, train it on the context's dataset, and compare the long tail."""
        context.require_dataset("distill")
        from edgerec.learn import TorchModel, fine_tune
        from edgerec_distill.tail import HEAD_SHARE, long_tail
        from edgerec_distill.teacher import read_teachers

        student = self.outline(model)
        before = long_tail(model, context)
        torch_model = TorchModel(student)
        fine_tune(
            torch_model,
            context,
            who="distill",
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            distill=self.soft,
            temperature=self.temperature,
            sample=self.candidates,
            teacher=read_teachers(self.teacher) if self.teacher else model,
        )
        taught = torch_model.to_device_model()
        after = long_tail(taught, context)
        tail = {"long_tail_before": before, "long_tail_after": after, "head_share": HEAD_SHARE}
        return taught.replace(metadata={**model.metadata, "distill": tail})

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Offer widths of the student."""
        return {"width": (16, 24, 32, 48)}

    def outline(self, model: DeviceModel) -> DeviceModel:
        """Return the student before training.

        Raises:
            CompressError: it would not be smaller, or the model reads a user vector.
        """
        from edgerec_distill.student import student_of

        if self.width >= model.width:
            raise CompressError(
                f"distill.width: {self.width} is not below the model's width {model.width}"
            )
        if model.past is not None:
            raise CompressError(
                "distill: past items are others than candidates, so none of them can be left out "
                "of a history as the one to recommend"
            )
        if reads := model.own_inputs:
            raise CompressError(
                f"distill: the encoder reads a {' and a '.join(reads)}, which the student cannot; "
                "train without it, or train a narrower model with this one as its teacher"
            )
        if model.head.blocks is not None:
            raise CompressError(
                "distill: the items are in clusters, and the student's would not fit into them; "
                "distill first, then cluster"
            )
        student = student_of(model, self.width)
        if student.table_bytes >= model.table_bytes:
            raise CompressError(
                f"distill: the fp32 student would have {student.table_bytes:,} bytes, the model "
                f"has {model.table_bytes:,}; distill first, then quantize"
            )
        # Shares have as many digits once they are measured.
        tail = dict.fromkeys(("long_tail_before", "long_tail_after"), 1 / 7) | {"head_share": 0.2}
        return student.replace(metadata={**model.metadata, "distill": tail})


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide distill."""
    return [Distill]
