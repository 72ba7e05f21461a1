"""What every GNN family has to do, as checks that raise AssertionErrors."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgerec.compression.chain import same_content
from edgerec.contracts.family import Family
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import ModelError, TargetError
from edgerec.exporting.export import export
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_histories
from edgerec.model.integers import F32
from edgerec.model.model_file import save_model
from edgerec.model.oracle import Oracle
from edgerec.testing.datasets import example_dataset

if TYPE_CHECKING:
    from edgerec.training.trained import Trained

__all__ = ["check_family"]

#: The greatest difference of two computations of the same, relative to the largest number.
_MOST = 1e-4

#: d, and γ of a network that has not been started, which is none or a number.
_DIM, _POPULARITIES = 8, (None, 0.1)


def check_family(
    family: Family, dataset: Dataset | None = None, *, host: Host | None = None
) -> dict[str, str]:
    """Check that a family computes the same on the graph, in PyG's form, and lowered.

    It trains small networks on a dataset, by default ``example_dataset``, and checks that training
    repeats from its seed and resumes, that a saved network is loaded as it was, and that each
    installed target exports it.

    Args:
        family: the family, with options.
        dataset: interactions to train on.
        host: the targets to export to; the installed ones by default.

    Returns:
        ``ok`` for each target that has a runtime here, or the reason why it refuses the model.
    """
    dataset = dataset or example_dataset()
    for popularity in _POPULARITIES:
        _check_same(_untrained(family, dataset, popularity), f"before training, γ {popularity}")
    trained = _train(family, dataset)
    _check_same(trained, "after training")
    _check_linear(trained)
    if dataset.items.titles is not None:
        _check_titles(family, dataset)
    model = _lower(trained)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _check_repeats(family, dataset, model, folder)
        _check_tilt(trained)
        _check_saved(trained, folder)
        return _check_exports(model, folder, host or Host.installed())


def _train(family: Family, dataset: Dataset, **changes: Any) -> Trained:
    from edgerec.training.loop import train

    options = {"dim": _DIM, "epochs": 2, "batch": 32, **changes}
    # A history that is cut off would be another one than the graph has.
    options["history_length"] = int(np.diff(dataset.train.indptr).max())
    try:
        return train(dataset, model=family, **options)
    except ModelError as error:
        raise AssertionError(f"training: {error}") from error


def _untrained(family: Family, dataset: Dataset, popularity: float | None) -> Trained:
    """A network of random numbers, whose users have vectors that are not zero."""
    import torch

    from edgerec.training.graph import Graph
    from edgerec.training.options import TrainOptions
    from edgerec.training.trained import Trained, make_gnn

    longest = int(np.diff(dataset.train.indptr).max())
    options = TrainOptions(model=family.name, dim=_DIM, history_length=longest)
    graph = Graph(dataset.train, len(dataset.items))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            gnn = make_gnn(family, graph, options, dataset)
        except ModelError as error:
            raise AssertionError(str(error)) from error
    gnn.popularity = popularity
    return Trained(gnn, graph, dataset, options, family)


def _lower(trained: Trained) -> DeviceModel:
    try:
        return trained.to_device_model()
    except ModelError as error:
        raise AssertionError(str(error)) from error


def _check_same(trained: Trained, when: str) -> None:
    """Check that the graph in both forms and the lowered model give the same vectors and scores."""
    import torch

    gnn, graph = trained.gnn.eval(), trained.graph
    with torch.no_grad():
        users, items = (part.numpy() for part in gnn(graph))
        plain = [part.numpy() for part in gnn(graph.edge_index)]
    for name, ours, theirs in zip(("user", "item"), (users, items), plain, strict=True):
        _equal(theirs, ours, f"{when}, the {name} vectors of forward(edge_index)", "forward(graph)")
    model = _lower(trained)
    found, logits = _run(trained, model)
    _equal(found, users, f"{when}, the user vectors of the lowered model", "forward")
    _equal(logits, users @ items.T, f"{when}, the scores of the lowered model", "forward")


def _run(trained: Trained, model: DeviceModel) -> tuple[F32, F32]:
    """User vectors and scores of all users by a lowered model."""
    history, weights = pad_histories(list(trained.dataset.train.lists()), model)
    oracle = Oracle(model)
    user = oracle.encode(history, weights, trained.user_vectors)
    return user, oracle.logits(user)


def _check_linear(trained: Trained) -> None:
    """Check that an encoder that says so adds up: the loss leaves items out by subtraction."""
    import torch

    gnn = trained.gnn
    if not gnn.linear:
        return
    with torch.no_grad():
        pasts = gnn.tables(trained.graph).past
        one, other = [past[:1] for past in pasts], [past[1:2] for past in pasts]
        whole = gnn.user([a + 2 * b for a, b in zip(one, other, strict=True)])
        parts = gnn.user(one) + 2 * gnn.user(other)
    _equal(whole.numpy(), parts.numpy(), "user() of a sum", "the sum of user(); set linear = False")


def _check_tilt(trained: Trained) -> None:
    """Check that ``tilt`` scales candidate rows by a power of the degree, and changes no users."""
    users, logits = _run(trained, _lower(trained))
    trained.gnn.tilt(trained.graph, 0.3)
    tilted, found = _run(trained, _lower(trained))
    _equal(tilted, users, "after tilt, the user vectors", "before")
    # Up to a factor, which changes no order.
    expected = logits * trained.graph.item_degree.numpy() ** 0.3
    factor = np.abs(expected).max() / np.abs(found).max()
    _equal(found * factor, expected, "after tilt, the scores", "degree^β times those before")


def _check_titles(family: Family, dataset: Dataset) -> None:
    """Check that the network reads item vectors through ``vectors``, which adds words."""
    trained = _train(family, dataset, features="titles")
    words = trained.gnn.get_parameter("item_features.parts.0.matrix")
    assert float(words.detach().abs().sum()) > 0, (
        "with features=titles, no word is trained; read vectors() in place of items"
    )
    _check_same(trained, "with features=titles")


def _check_repeats(family: Family, dataset: Dataset, model: DeviceModel, folder: Path) -> None:
    """Check that a training gives the same again, and does so after an interruption."""
    assert same_content(_lower(_train(family, dataset)), model), (
        "two trainings from one seed differ; draw random numbers from torch alone"
    )

    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    path = folder / "training"
    with contextlib.suppress(KeyboardInterrupt):
        _train(family, dataset, checkpoint=path, progress=stop)
    resumed = _lower(_train(family, dataset, checkpoint=path))
    assert same_content(resumed, model), (
        "a training that resumes differs from a whole one; keep what changes in parameters"
    )


def _check_saved(trained: Trained, folder: Path) -> None:
    """Check that a network that was saved and loaded is lowered to the same bytes."""
    from edgerec.training.trained import load_trained

    trained.save(folder / "gnn")
    loaded = load_trained(folder / "gnn", trained.dataset, model=trained.family)
    for name, one in (("a", trained), ("b", loaded)):
        save_model(_lower(one), folder / name)
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes(), (
        "saved and loaded, the network differs; keep what start() sets in parameters or buffers"
    )


def _check_exports(model: DeviceModel, folder: Path, host: Host) -> dict[str, str]:
    """Check that each target proves the model or refuses it with a reason."""
    found = {}
    for name in sorted(host.targets):
        target = host.target(name)
        if not target.runtimes():
            continue
        if reasons := target.refuse(model):
            assert all(reasons), f"{name}: refuse() gave an empty reason"
            found[name] = "; ".join(reasons)
            continue
        try:
            export(model, target, folder / name, top_k=20, host=host)
        except TargetError as error:
            raise AssertionError(f"{name}: {error}") from error
        found[name] = "ok"
    return found


def _equal(found: F32, expected: F32, what: str, than: str) -> None:
    """Compare arrays, relative to the greatest number."""
    assert found.shape == expected.shape, (
        f"{what}: expected shape {list(expected.shape)} of {than}, got {list(found.shape)}"
    )
    error = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    assert error <= _MOST, f"{what} differ by {error:.2g} from {than}"
