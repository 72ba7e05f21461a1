"""TrainOptions: every option of training, with its range and its help."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgerec.contracts.family import Family
from edgerec.contracts.host import Host
from edgerec.data.features import read_context_names, read_feature_names
from edgerec.errors import OptionError
from edgerec.files.toml import read_toml
from edgerec.model.options import from_options, parse_spec

__all__ = ["FAMILY_OPTIONS", "TrainOptions", "load_options"]

#: The options that are the family's own; ``model`` can have them as well, and any other.
FAMILY_OPTIONS = ("layers", "tied", "user_embedding")


@dataclass(frozen=True)
class TrainOptions:
    """The options of training.

    Raises:
        OptionError: a value is out of range; the message names the option.
    """

    model: str = field(
        default="historygcn",
        metadata={"help": "GNN family, also with options of its own: lightgcn:layers=2"},
    )
    dim: int = field(default=64, metadata={"help": "width of the item vectors"})
    layers: int | None = field(default=None, metadata={"help": "rounds of message passing"})
    tied: bool | None = field(
        default=None, metadata={"help": "share one table for past and candidate rows"}
    )
    user_embedding: bool | None = field(
        default=None,
        metadata={"help": "train a vector per user, in addition to the history"},
    )
    features: str | None = field(
        default=None,
        metadata={
            "help": "what item vectors also learn from: titles, and features of the data set by "
            "name, such as titles,genres"
        },
    )
    context: str | None = field(
        default=None,
        metadata={
            "help": "what a device knows of its user and passes as context: features of users by "
            "name, such as age,country"
        },
    )
    predict: str = field(
        default="any",
        metadata={
            "help": "what is learned from a history: `any` of its items from all others, or the "
            "`next` one from those before it"
        },
    )
    epochs: int = field(default=8, metadata={"help": "number of passes over the users"})
    patience: int | None = field(
        default=None,
        metadata={
            "help": "epochs in a row that may be no better on what is held out to choose by; "
            "then it stops, and the best one is kept"
        },
    )
    learning_rate: float = field(default=0.01, metadata={"help": "the largest step size of Adam"})
    batch: int | None = field(
        default=None,
        metadata={"help": "users per step; by default a 75th of them, but at least 32"},
    )
    negatives: int = field(default=16384, metadata={"help": "items sampled per step, at most all"})
    temperature: float = field(default=0.15, metadata={"help": "τ of the softmax"})
    popularity: float = field(
        default=0.1, metadata={"help": "γ; candidate rows have the length degree^γ"}
    )
    tilt: float = field(
        default=0.0, metadata={"help": "β; after training, candidate rows are scaled by degree^β"}
    )
    user_weight: float = field(
        default=0.2, metadata={"help": "g, how much weight long histories lose"}
    )
    gce: float = field(
        default=0.1, metadata={"help": "q of the generalized cross entropy; 0 is the plain one"}
    )
    distill: float | None = field(
        default=None, metadata={"help": "weight of a teacher's ranking; 5 if there is a teacher"}
    )
    recency: float = field(
        default=0.0,
        metadata={"help": "ρ; the j-th most recent item weighs j^-ρ, 0 weighs all alike"},
    )
    history_length: int = field(
        default=200, metadata={"help": "H, the maximum number of past items that a device reads"}
    )
    seed: int = field(default=0, metadata={"help": "the seed of every random choice"})

    def __post_init__(self) -> None:
        _, own = parse_spec(self.model)
        twice = [name for name in FAMILY_OPTIONS if name in own and getattr(self, name) is not None]
        if twice:
            raise OptionError(
                f"{', '.join(twice)}: is also given in the model {self.model!r}; give it once"
            )
        read_feature_names(self.features)
        read_context_names(self.context)
        if self.predict not in ("any", "next"):
            raise OptionError(f"predict: expected 'any' or 'next', got {self.predict!r}")
        for name in ("dim", "epochs", "batch", "negatives", "history_length", "layers", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name}: expected a positive integer, got {value}")
        for name in ("gce", "distill", "recency"):
            if not 0 <= (getattr(self, name) or 0) < math.inf:
                raise OptionError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("popularity", "tilt", "user_weight"):
            if not math.isfinite(getattr(self, name)):
                raise OptionError(f"{name}: expected a number, got {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise OptionError(f"{name}: expected a positive number, got {getattr(self, name)}")

    def family(self, host: Host | None = None) -> Family:
        """Make the family that ``model`` names, with its options.

        Args:
            host: the plugins to choose from; the installed ones by default.

        Raises:
            UnknownNameError: no plugin provides it.
            OptionError: it does not have an option that is set, or a value is wrong.
        """
        host = host or Host.installed()
        name, own = parse_spec(self.model)
        given = {name: getattr(self, name) for name in FAMILY_OPTIONS}
        given = {name: value for name, value in given.items() if value is not None}
        if (cls := host.families.get(name)) is not None:
            taken = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # the host takes dataclasses alone
            if unknown := sorted(set(given) - taken):
                raise OptionError(f"{', '.join(unknown)}: {name} has no such option")
        return host.family(name, **own, **given)


def load_options(path: str | Path) -> dict[str, Any]:
    """Read fields of TrainOptions from a TOML file.

    Raises:
        OptionError: the file cannot be read, or an option is unknown or of the wrong type.
    """
    values = read_toml(path, "file of options")
    checked = from_options(TrainOptions, values, str(path))
    return {name: getattr(checked, name) for name in values}
