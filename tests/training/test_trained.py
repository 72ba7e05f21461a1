"""A trained GNN is saved, and loaded as it was."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import edgerec
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import BundleError, ModelError, OptionError, UnknownNameError
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.model.items import Items
from edgerec.model.model_file import save_model
from edgerec.training.loop import train
from edgerec.training.options import TrainOptions
from edgerec.training.trained import Trained
from edgerec_families import GraphSAGE, LightGCN
from tests.conftest import example_features
from tests.data.test_weighing import weighed
from tests.rigs.families import Faulty

CASES: dict[str, dict[str, Any]] = {
    "by default": {},
    "two tables": {"tied": False, "tilt": 0.2},
    "tilted": {"model": "lightgcn", "tilt": 0.2},
    "with user vectors": {"model": "lightgcn:layers=3,user_embedding=true"},
    "dense": {"model": "graphsage", "layers": 3, "popularity": 1},
    "titles": {"model": "lightgcn", "features": "titles", "recency": 1},
    "features": {"features": "shape,kind,titles"},
}


def lowered(trained: Trained, path: Path) -> bytes:
    """The bytes of the device model."""
    save_model(trained.to_device_model(), path)
    return path.read_bytes()


@pytest.mark.parametrize("case", CASES)
def test_saved_and_loaded_it_lowers_to_the_same_bytes(
    case: str, dataset: Dataset, tmp_path: Path
) -> None:
    dataset = dataset.with_features(example_features(dataset))
    trained = train(dataset, epochs=2, dim=8, history_length=30, **CASES[case])
    size = trained.save(tmp_path / "x.gnn")
    assert size == (tmp_path / "x.gnn").stat().st_size
    random = torch.get_rng_state()
    loaded = edgerec.load_trained(tmp_path / "x.gnn", dataset)
    assert torch.equal(torch.get_rng_state(), random)
    assert lowered(loaded, tmp_path / "b") == lowered(trained, tmp_path / "a")
    assert (loaded.options, loaded.family) == (trained.options, trained.family)
    assert loaded.gnn.popularity == trained.gnn.popularity
    with torch.no_grad():
        for ours, theirs in zip(loaded.gnn(loaded.graph), trained.gnn(trained.graph), strict=True):
            assert torch.equal(ours, theirs)
    if trained.user_vectors is not None:
        assert np.array_equal(loaded.user_vectors, trained.user_vectors)
    # It is a network like any other: what is done to it next gives the same.
    for one in (loaded, trained):
        one.gnn.tilt(one.graph, 0.1)
    assert lowered(loaded, tmp_path / "b") == lowered(trained, tmp_path / "a")


@pytest.fixture
def saved(dataset: Dataset, tmp_path: Path) -> Path:
    path = tmp_path / "x.gnn"
    train(dataset, model="lightgcn", epochs=1, dim=8).save(path)
    return path


def retitled(dataset: Dataset) -> Dataset:
    titles = ["another", *dataset.items.titles[1:]]  # type: ignore[index]  # it has titles
    return dataclasses.replace(dataset, items=Items.of(dataset.items.ids, titles))


def renamed(dataset: Dataset) -> Dataset:
    ids = ["another", *list(dataset.items.ids)[1:]]
    return dataclasses.replace(dataset, items=Items.of(ids, dataset.items.titles))


def whole(dataset: Dataset) -> Dataset:
    return dataclasses.replace(dataset, train=dataset.histories, valid=None)


@pytest.mark.parametrize("change", [retitled, renamed, whole, weighed])
def test_another_dataset_is_refused(saved: Path, dataset: Dataset, change: Any) -> None:
    message = (
        "x.gnn: was trained on other interactions, items or features than those of tastes; pass the"
    )
    with pytest.raises(OptionError, match=message):
        edgerec.load_trained(saved, change(dataset))


def test_what_is_held_out_does_not_matter(saved: Path, dataset: Dataset) -> None:
    edgerec.load_trained(saved, dataclasses.replace(dataset, valid=None, test=None))


def changed(path: Path, drop: str = "", **meta: Any) -> Path:
    """Write a file again, with other meta and without a section."""
    container = Container(path)
    sections = {name: container.array(name).copy() for name in container.names if name != drop}
    write_container(path, "gnn", container.meta | meta, sections)
    return path


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a newer format": ({"format": 2}, BundleError, "gnn format 2, this edgerec reads format 1"),
    "no family": ({"family": None}, BundleError, "family: expected text, got None"),
    "an unknown family": (
        {"family": "fading"},
        UnknownNameError,
        "x.gnn: unknown family 'fading'; known: .*; install the plugin that provides it",
    ),
    "another option of the family": (
        {"family_options": {"layers": 2}},
        OptionError,
        r"its options {'layers': 2}, not with lightgcn:layers=2; pass that family",
    ),
    "another network": (
        {"family_options": {"layers": 1, "user_embedding": True}},
        ModelError,
        r"the family lightgcn now makes another network than the one in this file \(it differs in "
        r"users\); install the version",
    ),
    "an option of a later edgerec": (
        {"options": {"later": 1}},
        BundleError,
        "options: unknown option later",
    ),
    "a width": (
        {"options": {"dim": 10**9}},
        BundleError,
        r"items: expected a width of 1000000000, got shape \[80, 8\]; the file is damaged",
    ),
    "a popularity": ({"popularity": "0.1"}, BundleError, "popularity: expected a number, got"),
    "no items": ({"drop": "state/items"}, BundleError, "has no section 'state/items'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_files_that_do_not_fit(saved: Path, dataset: Dataset, case: str) -> None:
    meta, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        edgerec.load_trained(changed(saved, **meta), dataset)


def test_options_as_text_are_read(saved: Path, dataset: Dataset) -> None:
    loaded = edgerec.load_trained(changed(saved, options={"dim": "8", "epochs": "1"}), dataset)
    assert loaded.options == TrainOptions(dim=8, epochs=1)


def test_an_interrupted_or_damaged_file(saved: Path, dataset: Dataset) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[:-9])
    with pytest.raises(BundleError):
        edgerec.load_trained(saved, dataset)
    saved.write_bytes(content[:-70] + bytes([content[-70] ^ 1]) + content[-69:])
    with pytest.raises(BundleError, match="does not match its SHA-256"):
        edgerec.load_trained(saved, dataset)
    save_model(train(dataset, epochs=1, dim=8).to_device_model(), saved)
    with pytest.raises(BundleError, match="expected a gnn, got a model"):
        edgerec.load_trained(saved, dataset)
    assert [path.name for path in saved.parent.iterdir()] == ["x.gnn"]


@dataclass(frozen=True)
class Renamed(Faulty):
    """The same options under another name."""

    name: ClassVar[str] = "renamed"


def test_a_family_that_no_plugin_provides(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "x.gnn"
    trained = train(dataset, model=Faulty(), epochs=1, dim=8)
    trained.save(path)
    with pytest.raises(UnknownNameError, match="unknown family 'faulty'"):
        edgerec.load_trained(path, dataset)
    loaded = edgerec.load_trained(path, dataset, model=Faulty())
    assert lowered(loaded, tmp_path / "b") == lowered(trained, tmp_path / "a")
    for other in (LightGCN(layers=3), Faulty("tilt"), Renamed()):
        with pytest.raises(OptionError, match=r"was trained with the family faulty"):
            edgerec.load_trained(path, dataset, model=other)


def test_the_host_provides_the_family(saved: Path, dataset: Dataset) -> None:
    with pytest.raises(UnknownNameError, match="known: none installed"):
        edgerec.load_trained(saved, dataset, host=Host([]))


def test_a_checkpoint_of_another_family_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    path, options = tmp_path / "c", TrainOptions(epochs=2, dim=8, batch=32)
    first = train(dataset, options, model="lightgcn:layers=2", checkpoint=path)
    for changes, what in (
        ({"model": "graphsage"}, "model, model.user_embedding"),
        ({"model": "lightgcn:layers=3"}, "model.layers"),
        ({"model": "lightgcn", "layers": 2, "user_embedding": True}, "model.user_embedding"),
    ):
        with pytest.raises(OptionError, match=f"was written with another {what}; use the same"):
            train(dataset, options, checkpoint=path, **changes)  # type: ignore[arg-type]  # options by name
    # The same family in other words is the same.
    seen: list[int] = []
    again = train(
        dataset,
        options,
        model="lightgcn",
        layers=2,
        checkpoint=path,
        progress=lambda done, *_: seen.append(done),
    )
    assert seen == []
    assert torch.equal(again.gnn.items, first.gnn.items)
    assert again.family == LightGCN(layers=2) != GraphSAGE()
