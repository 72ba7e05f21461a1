"""Verify a bundle against a device's budget, by measuring the file."""

from __future__ import annotations

from pathlib import Path

from edgerec.building.fidelity import check_inputs
from edgerec.building.measured import measure_quality
from edgerec.building.records import on_device, violations
from edgerec.contracts.bundle import Bundle
from edgerec.contracts.device import Device
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate, evaluation_users
from edgerec.device.bench import measure
from edgerec.device.figures import Figures
from edgerec.errors import OptionError
from edgerec.model.device_model import DeviceModel

__all__ = ["verify"]


def verify(
    path: str | Path,
    device: Device,
    *,
    dataset: Dataset | None = None,
    model: DeviceModel | None = None,
    users: int | None = None,
    runtime: str | None = None,
    trust: bool = False,
) -> tuple[Figures, list[str]]:
    """Check an existing bundle against a device's budget.

    Args:
        path: the bundle; its digests are checked first.
        device: the device whose budget to check.
        dataset: with held-out interactions; required if the budget has ``min_quality``.
        model: the uncompressed model that retention refers to; required in that case, too.
        users: the number of test users; none means all.
        runtime: the installed runtime to use; the target's best one by default.
        trust: whether to run a payload that needs trust (see ``Scorer``).

    Returns:
        What was measured in a fresh process, and the limits that it breaks. Times and memory are
        the device's own where ``edgerec bench --save`` recorded them.

    Raises:
        OptionError: the budget limits quality, and the dataset or the model is missing; or the
            model reads what histories do not have.
        BundleError: the file is damaged.
        TargetError: the bundle does not run.
    """
    bundle = Bundle.open(path)
    wrong = []
    if device.targets and bundle.target not in device.targets:
        wrong.append(f"target: {bundle.target}; the device has {', '.join(device.targets)}")
    if dataset is not None and model is not None:
        check_inputs(model, dataset)
        chosen = evaluation_users(dataset, users)
        before = evaluate(model, dataset, users=chosen)
        figures = measure_quality(Path(path), before, dataset, chosen, runtime, trust=trust)
    elif device.budget.min_quality is not None:
        raise OptionError(
            f"{device.name}: budget.min_quality is a share of the uncompressed model's quality; "
            "pass the dataset and that model"
        )
    else:
        figures = measure(path, runtime=runtime, trust=trust).replace(lists=None)
    figures = on_device(figures, path, device.name)
    return figures, wrong + violations(device, figures)
