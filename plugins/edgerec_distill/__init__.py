"""distill: teach a narrower student the lists of its teacher."""

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
    temperature: float = field(
        default=0.5, metadata={"help": "T of the soft labels, on standardised scores"}
    )
    alpha: float = field(
        default=0.5, metadata={"help": "weight of soft labels; 1 - alpha of left-out items"}
    )
    epochs: int = field(default=40, metadata={"help": "passes over the users"})
    candidates: int = field(
        default=100, metadata={"help": "items a list: half the teacher's top, half random"}
    )
    learning_rate: float = field(default=0.01, metadata={"help": "Adam's step at the start"})
    batch: int = field(default=64, metadata={"help": "users a step"})

    def __post_init__(self) -> None:
        for name, least in (("width", 2), ("epochs", 1), ("candidates", 2), ("batch", 1)):
            if getattr(self, name) < least:
                raise OptionError(
                    f"distill.{name}: expected at least {least}, got {getattr(self, name)}"
                )
        for name in ("temperature", "learning_rate"):
            if not getattr(self, name) > 0:
                raise OptionError(
                    f"distill.{name}: expected a positive number, got {getattr(self, name)}"
                )
        if not 0 <= self.alpha <= 1:
            raise OptionError(f"distill.alpha: expected a number from 0 to 1, got {self.alpha}")

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
        from edgerec_distill.learning import HEAD_SHARE, long_tail, teach
        from edgerec_distill.student import student_of
        from edgerec_distill.teacher import Teacher

        student = student_of(model, self.width)
        if student.table_bytes >= model.table_bytes:
            raise CompressError(
                f"distill: the fp32 student would have {student.table_bytes:,} bytes, the model "
                f"has {model.table_bytes:,}; distill first, then quantize"
            )
        teacher = Teacher.load(self.teacher, model) if self.teacher else Teacher([model], model)
        taught = teach(student, teacher, self, context)
        before, after = long_tail([model, taught], context)
        tail = {"long_tail_before": before, "long_tail_after": after, "head_share": HEAD_SHARE}
        return taught.replace(metadata={**model.metadata, "distill": tail})

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Widths of the student."""
        return {"width": (16, 32, 48)}

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
