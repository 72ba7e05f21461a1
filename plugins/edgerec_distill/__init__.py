r"""distill: teach a narrower student the lists of its teacher.

The student's loss is that of the items which users have, one left out at a time, and of the
soft labels that the teacher gives to a sample of those that they have not:

    L_rank + soft · H(softmax(t / T), softmax(s / T)),    softmax(z / T)_i = exp(z_i / T) / Σ_j …

(Hinton, Vinyals & Dean, 2015; for rankings Tang & Wang, KDD 2018; ``edgerec.ranking`` has
the losses). T² does not stand before the second, as T is the same throughout; a low T is about
the top of the list, which is what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from edgerec.plugin import CompressError, Compressor, Context, DeviceModel, OptionError, hookimpl


@dataclass(frozen=True)
class Distill(Compressor):
    """Train a student with narrow fp32 tables on soft labels; quantize it afterwards.

    The teacher is the model itself, or other models of the same catalogue, wider ones or
    an ensemble. As distillation tends to favour what is popular, the share of long-tail
    items before and after is noted in ``metadata["distill"]``.
    """

    name: ClassVar[str] = "distill"

    width: int = field(default=16, metadata={"help": "columns of the student's tables"})
    teacher: tuple[str, ...] = field(
        default=(),
        metadata={"help": "saved models to learn from, joined by +; the model itself if none"},
    )
    temperature: float = field(default=0.1, metadata={"help": "T of the soft labels, on cosines"})
    soft: float = field(
        default=20.0, metadata={"help": "weight of soft labels beside that of left-out items"}
    )
    epochs: int = field(default=12, metadata={"help": "passes over the users"})
    candidates: int = field(default=4096, metadata={"help": "items a list, sampled at each step"})
    learning_rate: float = field(default=0.01, metadata={"help": "Adam's step at the start"})

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

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Make a student, train it on the context's dataset and compare the long tail."""
        context.require_dataset("distill")
        if self.width >= model.width:
            raise CompressError(
                f"distill.width: {self.width} is not below the model's width {model.width}"
            )
        if model.needs_user_vector:
            raise CompressError(
                "distill: the encoder reads a user_vector, which the student could not; "
                "train without user embeddings"
            )
        from edgerec.learn import Twin, fine_tune
        from edgerec_distill.student import student_of
        from edgerec_distill.tail import HEAD_SHARE, long_tail
        from edgerec_distill.teacher import read_teachers

        student = student_of(model, self.width)
        if student.table_bytes >= model.table_bytes:
            raise CompressError(
                f"distill: the fp32 student would have {student.table_bytes:,} bytes, the model "
                f"has {model.table_bytes:,}; distill first, then quantize"
            )
        before = long_tail(model, context)
        twin = Twin(student)
        fine_tune(
            twin,
            context,
            who="distill",
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            distill=self.soft,
            temperature=self.temperature,
            sample=self.candidates,
            teacher=read_teachers(self.teacher) if self.teacher else model,
        )
        taught = twin.to_device_model()
        after = long_tail(taught, context)
        tail = {"long_tail_before": before, "long_tail_after": after, "head_share": HEAD_SHARE}
        return taught.replace(metadata={**model.metadata, "distill": tail})

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Widths of the student."""
        return {"width": (16, 24, 32, 48)}

    def outline(self, model: DeviceModel) -> DeviceModel | None:
        """The student before it is taught."""
        from edgerec_distill.student import student_of

        if self.width >= model.width or model.needs_user_vector:
            return None
        return student_of(model, self.width)


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide distill."""
    return [Distill]
