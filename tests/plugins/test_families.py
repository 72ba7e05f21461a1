"""The GNN families of edgerec keep the contract, and the contract suite finds what does not."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import edgerec
from edgerec.building.tuning import tune
from edgerec.cli.report import plugin_rows
from edgerec.contracts.family import Family
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import ModelError, OptionError, UnknownNameError
from edgerec.model.items import Items
from edgerec.model.options import format_spec, from_options, parse_spec
from edgerec.testing import check_family, example_dataset
from edgerec.training.loop import train
from edgerec.training.options import TrainOptions
from edgerec_families import (
    GAT,
    NGCF,
    GraphSAGE,
    HistoryGCN,
    Knowledge,
    LightGCN,
    PinSage,
    Social,
)
from tests.data.test_weighing import weighed
from tests.rigs.families import FAULTS, Faulty
from tests.rigs.plugins import install

OURS = [
    HistoryGCN(),
    HistoryGCN(tied=False),
    LightGCN(),
    LightGCN(layers=2),
    LightGCN(layers=3),
    LightGCN(layers=1, user_embedding=True),
    LightGCN(layers=3, user_embedding=True),
    GraphSAGE(layers=1),
    GraphSAGE(),
    GraphSAGE(layers=3),
    NGCF(layers=1),
    NGCF(),
    NGCF(layers=3),
    GAT(),
    GAT(layers=2, heads=2),
    PinSage(),
    PinSage(layers=2, neighbors=3),
    Knowledge(),
    Knowledge(layers=2, heads=1),
    Social(),
    Social(layers=2, weight=0.7),
]


@pytest.mark.parametrize("family", OURS, ids=format_spec)
def test_ours_keep_the_contract(family: Family) -> None:
    found = check_family(family)
    assert {"numpy", "onnx", "tflite", "torchscript"} <= set(found)
    assert set(found.values()) == {"ok"}


def test_the_contract_on_other_data() -> None:
    """Histories that are longer than a device reads by default, and no titles."""
    long = example_dataset(20, 1600)
    bare = Dataset("bare", long.users, Items.of(long.items.ids), long.train)
    assert max(len(rows) for rows in bare.train.lists()) > TrainOptions().history_length
    assert set(check_family(LightGCN(), bare).values()) == {"ok"}
    assert set(
        check_family(GraphSAGE(), weighed(example_dataset().split_random(0.2))).values()
    ) == {"ok"}


def test_a_family_without_a_fault_passes() -> None:
    assert set(check_family(Faulty()).values()) == {"ok"}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_finds_faults(fault: str) -> None:
    with pytest.raises(AssertionError, match=FAULTS[fault][1]):
        check_family(Faulty(fault))


def test_the_contract_finds_targets_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    target = type(Host.installed().target("numpy"))
    monkeypatch.setattr(target, "refuse", lambda self, model: ["too small"])
    assert check_family(LightGCN())["numpy"] == "too small"
    monkeypatch.setattr(target, "refuse", lambda self, model: [""])
    with pytest.raises(AssertionError, match=r"numpy: refuse\(\) gave an empty reason"):
        check_family(LightGCN())
    monkeypatch.setattr(target, "refuse", lambda self, model: [])
    monkeypatch.setattr(target, "lower", lambda *_: b"bytes")
    with pytest.raises(AssertionError, match="numpy: target numpy: lower: expected a Payload"):
        check_family(LightGCN())


def test_listing_families_does_not_load_torch() -> None:
    code = (
        "import sys; from edgerec.contracts.host import Host; "
        "from edgerec.training.options import TrainOptions; "
        "print(sorted(Host.installed().families)); "
        "print(TrainOptions(layers=2, model='lightgcn').family()); "
        "assert not {'torch', 'torch_geometric'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "LightGCN(layers=2, user_embedding=False)" in done.stdout, done.stderr
    assert all(f"'{family.name}'" in done.stdout for family in OURS)


def test_families_are_listed_with_their_options() -> None:
    rows = {row["name"]: row for row in plugin_rows(Host.installed()) if row["kind"] == "family"}
    assert {"historygcn", "lightgcn", "graphsage"} <= set(rows)
    options = {option["name"]: option for option in rows["lightgcn"]["options"]}
    assert options["layers"]["help"] == "rounds of message passing"
    assert options["user_embedding"]["default"] is False


@pytest.mark.parametrize("family", [*OURS, Faulty(marks=(3, 4), limit=None)], ids=format_spec)
def test_a_family_as_text(family: Family) -> None:
    name, options = parse_spec(format_spec(family))
    assert name == family.name
    assert from_options(type(family), options, name) == family


@pytest.mark.parametrize(
    "name", ["lightgcn", "graphsage", "ngcf", "gat", "pinsage", "knowledge", "social"]
)
def test_layers_are_checked(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name}.layers: expected a positive integer, got 0"):
        Host.installed().family(name, layers="0")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gat", {"heads": "0"}, "gat.heads: expected a positive integer, got 0"),
        ("pinsage", {"neighbors": "0"}, "pinsage.neighbors: expected a positive integer, got 0"),
        ("social", {"weight": "0"}, "social.weight: expected a positive number, got 0"),
        ("social", {"weight": "inf"}, "social.weight: expected a positive number, got inf"),
    ],
)
def test_other_options_are_checked(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Host.installed().family(name, **options)


def test_what_a_family_needs_of_a_dataset(dataset: Dataset) -> None:
    bare = dataclasses.replace(dataset, triples=None, friends=None)
    with pytest.raises(OptionError, match="knowledge: tastes has no facts about items; read some"):
        train(bare, model=Knowledge(), epochs=1, dim=8)
    with pytest.raises(OptionError, match="social: tastes has no friendships; read some with"):
        train(bare, model=Social(), epochs=1, dim=8)
    for family in (GAT(heads=3), Knowledge(heads=3)):
        with pytest.raises(OptionError, match=r"heads: expected a divisor of dim = 8, got 3"):
            train(dataset, model=family, epochs=1, dim=8)


FAMILY = """
@dataclass(frozen=True)
class Mine(Family):
    name: ClassVar[str] = "mine"
    rounds: int = 1
    def make(self, n_users, n_items, dim):
        from edgerec_families import lightgcn
        return lightgcn.LightGCN(n_users, n_items, dim, self.rounds, False)

@hookimpl
def edgerec_families():
    return [Mine]
"""


def test_a_family_of_another_plugin(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host([install(tmp_path, monkeypatch, "mine", FAMILY)])
    trained = train(dataset, model="mine:rounds=3", epochs=1, dim=8, host=host)
    assert trained.gnn.layers == 3
    assert trained.options.model == "mine:rounds=3"
    with pytest.raises(OptionError, match="mine: unknown option layers; options: rounds"):
        train(dataset, model="mine:layers=3", host=host)
    with pytest.raises(OptionError, match="layers: mine has no such option"):
        train(dataset, model="mine", layers=3, host=host)
    with pytest.raises(UnknownNameError, match="unknown family 'lightgcn'; known: mine"):
        train(dataset, model="lightgcn", host=host)
    options = TrainOptions(model="mine", dim=4, epochs=2)
    assert len(tune(dataset, options, trials=1, host=host).trials) == 1
    with pytest.raises(UnknownNameError, match="unknown family 'mine'; known: none installed"):
        tune(dataset, options, trials=1, host=Host([]), folder=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_an_unknown_family_names_the_broken_plugins(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = FAMILY.replace("def make", "def build")
    host = Host([install(tmp_path, monkeypatch, "mine", lacking)])
    message = r"unknown family 'mine'; known: none installed; broken plugins: .*Mine lacks make"
    with pytest.raises(UnknownNameError, match=message):
        train(dataset, model="mine", host=host)


def test_a_family_as_an_object(dataset: Dataset) -> None:
    trained = train(dataset, model=LightGCN(layers=2), epochs=1, dim=8)
    assert trained.options.model == "lightgcn:layers=2"
    assert trained.family == LightGCN(layers=2)
    same = train(dataset, model="lightgcn", layers=2, epochs=1, dim=8)
    assert same.family == trained.family
    assert same.gnn.items.equal(trained.gnn.items)
    message = "user_embedding: has no effect on the family 'lightgcn:layers=2', which is made"
    with pytest.raises(OptionError, match=message):
        train(dataset, model=LightGCN(layers=2), user_embedding=True)
    with pytest.raises(ModelError, match="family faulty: KeyError: 'lost'"):
        train(dataset, model=Faulty("an exception"), epochs=1)


@pytest.mark.parametrize("family", ["gat", "knowledge"])
def test_attention_survives_int8(dataset: Dataset, family: str) -> None:
    """Also where shares differ by orders of magnitude, as after a long training."""
    trained = train(dataset, model=family, epochs=1, dim=16)
    last = trained.gnn.get_submodule("to_user.1")
    with torch.no_grad():
        last.att_src.normal_(0, 8, generator=torch.Generator().manual_seed(0))
    model = trained.to_device_model()
    small = edgerec.compress(model, "quantize:codec=int8")
    shares = model.tables["attention"].decode()
    assert np.exp(shares).max() > 1e3 * np.median(np.exp(shares))
    kept = evaluate(small, dataset).kept(evaluate(model, dataset))
    assert kept[1] > 0.9, kept
