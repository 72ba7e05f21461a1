"""User encoders written in torch are traced, lowered and proven, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgerec
from edgerec.device.scorer import Scorer
from edgerec.errors import ModelError
from edgerec.importing.rules import RULES
from edgerec.model.device_model import DeviceModel

N, D, E, H = 120, 8, 12, 20
IDS = [f"i{row:03d}" for row in range(N)]
RNG = np.random.default_rng(0)
TABLES = {"items": RNG.normal(size=(N, D)), "past": RNG.normal(size=(N, E))}


def imported(module: nn.Module, **options: Any) -> DeviceModel:
    return edgerec.from_torch(module, TABLES, IDS, history_length=H, **options)


class Tower(nn.Module):
    """A pooled history through normalized dense layers, as in two-tower models."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.norm, self.out = nn.Linear(E, 16), nn.LayerNorm(16), nn.Linear(16, D)
        self.batch = nn.BatchNorm1d(E)
        self.batch.running_mean.normal_()
        self.batch.running_var.uniform_(0.5, 2)

    def forward(self, past: Tensor, present: Tensor, count: Tensor) -> Tensor:
        """Mean, dense layer, layer norm, dense layer."""
        mean = (self.batch(past) * present).sum(0) / count[0, 0]
        hidden = nn.functional.dropout(torch.relu(self.dense(mean)), 0.5, self.training)
        return self.out(self.norm(hidden))


class Attention(nn.Module):
    """Attention over the history with positions, and the greatest of each column."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.out = nn.Linear(E, 1), nn.Linear(2 * E, D)
        self.position = nn.Embedding(H, E)

    def forward(self, past: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """Scores, softmax, weighted sum, maximum."""
        rows = past + self.position(position)
        share = torch.softmax(self.query(torch.tanh(rows)) + mask, 0)
        return self.out(torch.cat([(share * rows).sum(0), (rows + mask).max(0).values]))


class Transformer(nn.Module):
    """Self-attention with several heads, as in SASRec."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(E, 3, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(E, 32), nn.GELU(), nn.Linear(32, E))
        self.norm, self.out = nn.LayerNorm(E), nn.Linear(E, D)

    def forward(self, past: Tensor, mask: Tensor, present: Tensor, count: Tensor) -> Tensor:
        """Attend, add and normalize, feed forward, mean."""
        low = mask.reshape(1, -1).expand(H, H)
        mixed, _ = self.attention(past[None], past[None], past[None], attn_mask=low)
        rows = self.norm(mixed[0] + past)
        rows = rows + self.feed(rows)
        return self.out((rows * present).sum(0) / count[0])


class Gated(nn.Module):
    """What else a module may read, and many small ops."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.out = nn.Linear(E, E), nn.Linear(E, D)

    def forward(
        self, past: Tensor, weights: Tensor, user_vector: Tensor, context: Tensor
    ) -> Tensor:
        """A gate, a clamp, a norm, slices, and inputs of the user's own."""
        pooled = (past * weights).sum(0, keepdim=True)
        gated = torch.sigmoid(self.gate(pooled)) * nn.functional.elu(pooled)
        left, right = nn.functional.leaky_relu(gated).split(E // 2, dim=1)
        bent = torch.cat([left.abs().sqrt(), -right.clamp(-1, 0.5)], 1)
        unit = bent / bent.pow(2).sum(1, keepdim=True).rsqrt().reciprocal()
        unit = torch.where(unit == 0, 1.0, unit) - unit.mean() + unit.var()
        return self.out(unit * nn.functional.silu(1 - unit)) + user_vector + context[:, :1]


class Factors(nn.Module):
    """Matrix factorization: the user's own row."""

    def forward(self, user_vector: Tensor) -> Tensor:
        """The row itself."""
        return user_vector


MODULES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "tower": (Tower, {}),
    "attention": (Attention, {"head": "cosine"}),
    "transformer": (Transformer, {}),
    "factors": (Factors, {}),
    "gated": (Gated, {"context_width": 3, "normalization": 0.5, "recency": 0.5}),
}


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite", "torchscript"])
@pytest.mark.parametrize("name", MODULES)
def test_lists_are_those_of_the_module(name: str, target: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, options = MODULES[name]
    module = make()
    model = imported(module, **options)
    assert {op.output for op in model.encoder} >= {"user"}
    scorer = Scorer(edgerec.export(model, target, tmp_path / "x.edgerec", top_k=20), trust=True)
    inputs = {k: np.linspace(-1, 1, n) for k, n in model.inputs.items()}
    for rows in ([5], [3, 80, 41], list(range(30, 30 + H))):
        n = len(rows)
        padded = np.array(rows + [0] * (H - n))
        present = (np.arange(H) < n).astype(np.float32)[:, None]
        weights = np.zeros((H, 1))
        weights[:n, 0] = n**-0.5 * np.arange(n, 0, -1.0) ** -0.5
        given = {
            "past": TABLES["past"][padded],
            "present": present,
            "mask": (1 - present) * -1e9,
            "count": np.array([[n]]),
            "weights": weights,
            **{k: v[None] for k, v in inputs.items()},
        }
        names = module.forward.__annotations__.keys() - {"return", "position"}
        tensors = {k: torch.from_numpy(np.asarray(given[k], np.float32)) for k in names}
        if name == "attention":
            tensors["position"] = torch.arange(H)
        with torch.no_grad():
            user = module.eval()(**tensors).reshape(-1).numpy()
        found = scorer.user([IDS[row] for row in rows], **inputs)
        assert np.allclose(found, user, rtol=1e-3, atol=1e-4)


def test_models_that_need_all_places_are_evaluated_with_padding() -> None:
    torch.manual_seed(0)
    model = imported(Attention())
    assert not model.takes_any_length
    pairs = [(user, IDS[10 * user + step]) for user in range(12) for step in range(10)]
    data = edgerec.Dataset.from_pairs(*zip(*pairs, strict=True)).split_random(0.4)
    assert len(edgerec.evaluate(model, data).ndcgs) == 12


def test_each_rule_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that computes something else is found by the proof."""
    torch.manual_seed(0)
    wrong: dict[str, Callable[..., Any]] = {
        "leaky_relu": lambda builder, x, slope=0.01: builder.pointwise("LeakyRelu", x, alpha=0.3),
        "sigmoid": lambda builder, x: builder.pointwise("Tanh", x),
        "elu": lambda builder, x, *_: builder.pointwise("Relu", x),
        "clamp": lambda builder, x, *_: x,
        "var": lambda builder, x, *_, **__: builder.pointwise("Mul", x, 0.0),
        "abs": lambda builder, x: builder.pointwise("Relu", x),
        "rsqrt": lambda builder, x: builder.pointwise("Sqrt", x),
    }
    for name, rule in wrong.items():
        with monkeypatch.context() as patch:
            patch.setitem(RULES, name, rule)
            with pytest.raises(ModelError, match="lowered, it differs from the module by"):
                imported(Gated(), context_width=3)


def module_of(forward: Callable[..., Any]) -> nn.Module:
    """A module with a forward function and a dense layer."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(E, D)

    Made.forward = forward  # type: ignore[method-assign]  # what is tried
    return Made()


class Sorts(nn.Module):
    """An op that has no rule."""

    def forward(self, items: Tensor, weights: Tensor) -> Tensor:
        """The sum of sorted columns."""
        ordered = torch.sort(items * weights, 0).values
        return ordered.sum(0)


def branches(self: Any, past: Tensor, weights: Tensor) -> Tensor:
    user: Tensor = self.dense((past * weights).sum(0))
    return user if user.sum() > 0 else -user


REFUSED: dict[str, tuple[Any, str]] = {
    "a mixture": (
        lambda self, past, weights: self.dense(
            (past * weights).reshape(2 * H, E // 2).sum(0).repeat(2)
        ),
        r"view: from \[20, 12\] to \[40, 6\] mixes the history and the width",
    ),
    "a branch": (branches, "torch.export cannot trace it"),
    "padding": (lambda self, past: self.dense(past.mean(0)), "depends on the rows in padding"),
    "another name": (
        lambda self, clicks: clicks,
        "it reads clicks; it can read items, past, weights, mask, present, row_number, count",
    ),
    "another width": (
        lambda self, past, weights: (past * weights).sum(0),
        r"expected a user vector of 8 numbers, the width of the candidates, got the shape \[12\]",
    ),
    "nothing": (lambda self, past: torch.ones(D), "one tensor that depends on the history"),
    "a power": (
        lambda self, past, weights: self.dense(((past * weights) ** 3).sum(0)),
        "pow: only the exponents 2, 1, 0.5, -0.5 and -1 can be lowered, got 3",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_imported_says_why(case: str) -> None:
    forward, message = REFUSED[case]
    with pytest.raises(ModelError, match=message):
        imported(module_of(forward))


def test_an_op_without_a_rule_is_named_with_its_line() -> None:
    message = r"sort cannot be lowered, in File .*test_torch_module\.py.*torch\.sort"
    with pytest.raises(ModelError, match=message):
        imported(Sorts())


def test_tables_that_do_not_fit() -> None:
    with pytest.raises(ModelError, match="candidates: no table 'films'; tables: items, past"):
        imported(Tower(), candidates="films")
    with pytest.raises(ModelError, match=r"tables\.past: row 0 has a number that is NaN"):
        edgerec.from_torch(Tower(), TABLES | {"past": np.full((N, E), np.nan)}, IDS)
    with pytest.raises(ModelError, match="past: 119 rows for 120 items"):
        edgerec.from_torch(Tower(), TABLES | {"past": TABLES["past"][1:]}, IDS)


def test_more_past_items_than_candidates() -> None:
    """Tables that the module does not read may have fewer rows."""
    model = edgerec.from_torch(
        Tower(), TABLES | {"items": TABLES["items"][:5]}, IDS[:5], past_ids=IDS
    )
    assert (len(model.items), len(model.history_items)) == (5, N)
