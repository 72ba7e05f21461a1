"""A checkpoint of the layout that RecBole saves, with the tokens of its rows, without RecBole."""

from __future__ import annotations

import sys
import types
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.importing.fold_in import fold_in
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.oracle import Oracle

#: The width of embeddings.
D = 8


class Saved:
    """A folder with a checkpoint and with the tokens of its rows."""

    def __init__(self, folder: Path, data: Dataset, patch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(0)
        self.folder, self.data, self.patch, self.rng = folder, data, patch, rng
        self.users, self.items = self._write_inter()
        self.settings: dict[str, Any] = {
            "USER_ID_FIELD": "user_id",
            "ITEM_ID_FIELD": "item_id",
            "field_separator": "\t",
            "encoding": "utf-8",
            "n_layers": 2,
            "device": torch.device("cpu"),
        }
        self.counts = {"user": len(self.users) + 1, "item": len(self.items) + 1}
        self.state: dict[str, Tensor] = OrderedDict(
            (f"{side}_embedding.weight", self.tensor(n, D)) for side, n in self.counts.items()
        )

    def tensor(self, *shape: int) -> Tensor:
        """Random numbers."""
        return torch.from_numpy(self.rng.normal(size=shape).astype(np.float32))

    def _write_inter(self) -> tuple[list[str], list[str]]:
        """The atomic file, in an order of its own; and its tokens in order of appearance."""
        train = self.data.train
        order = self.rng.permutation(len(train))
        users = [self.data.users[int(row)] for row in train.users[order]]
        items = [self.data.items.ids[int(row)] for row in train.items[order]]
        lines = [f"{user}\t1\t{item}" for user, item in zip(users, items, strict=True)]
        lines[3:3] = ["\t5\ti999", "u999\t5\t"]  # RecBole drops what has no token
        header = "user_id:token\trating:float\titem_id:token"
        (self.folder / "x.inter").write_text("\n".join([header, *lines]) + "\n")
        found = list(dict.fromkeys(users)), list(dict.fromkeys(items))
        for name, tokens in zip(("users", "items"), found, strict=True):
            (self.folder / f"{name}.txt").write_text("\n".join(tokens) + "\n")
        return found

    def restored(self, width: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Rows after message passing, which are views of one array as in RecBole."""
        both = self.tensor(sum(self.counts.values()), width).to(dtype)
        parts = torch.split(both, list(self.counts.values()))
        return dict(zip(("restore_user_e", "restore_item_e"), parts, strict=True))

    def fake(self, path: str) -> type:
        """A class that a pickle names by this path; its module exists until the test ends."""
        module, name = path.rsplit(".", 1)
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            one = ".".join(parts[:end])
            if end == len(parts) or one not in sys.modules:
                self.patch.setitem(sys.modules, one, types.ModuleType(one))
        found = type(name, (), {"__module__": module})
        setattr(sys.modules[module], name, found)
        return found

    def write(
        self,
        model: str,
        others: dict[str, Any] | None = None,
        library: str = "recbole",
        **more: Any,
    ) -> Path:
        """Save a checkpoint as RecBole's trainer does."""
        where = "recbole.config.configurator" if library == "recbole" else f"{library}.config"
        config = self.fake(f"{where}.Config")()
        of_model = self.fake(f"{library}.model.general_recommender.{model.lower()}.{model}")
        loader = self.fake("yaml.loader.FullLoader")
        vars(config).update(
            model=model,
            model_class=of_model,
            yaml_loader=loader,
            final_config_dict={"model": model, **self.settings},
        )
        optimizer = {"state": {0: {"exp_avg": torch.zeros(3, 2).T}}}
        saved = {
            "config": config,
            "epoch": 3,
            "cur_step": 0,
            "best_valid_score": np.float64(0.25),
            "state_dict": self.state,
            "other_parameter": others or {},
            "optimizer": optimizer,
            **more,
        }
        path = self.folder / "saved.pth"
        torch.save(saved, path, pickle_protocol=4)
        self.patch.undo()
        assert "recbole" not in sys.modules
        return path

    def read(
        self, path: Path, data: Dataset | None = None, files: Mapping[str, str] | None = None
    ) -> DeviceModel:
        """Import a checkpoint, with files of the folder as options."""
        chosen = files or {"inter": "x.inter"}
        given = {name: str(self.folder / file) for name, file in chosen.items()}
        importer = Host.installed().importer("recbole", **given)
        model = importer.read(path, Context(self.data if data is None else data))
        assert "recbole" not in sys.modules
        return model

    def same(self, model: DeviceModel, users: F32, items: F32) -> None:
        """Check that a model has these item rows, and was fitted to these user rows."""
        assert list(model.items.ids) == self.items
        assert np.allclose(model.tables["items"].decode(), items, atol=1e-5)
        assert model.metadata["imported"] == "saved.pth"
        if "fold_in" not in model.metadata:
            return self.exact(model, users)
        found = fold_in(self.data, users, items, ids=self.items, users=self.users)
        share = model.metadata["fold_in"]
        assert share["users"] == pytest.approx(found.users, abs=1)
        if share["overlap"] > round(found.overlap, 4) + 0.01:
            return None  # the part that messages bring was kept as it is
        past = found.model.tables["past"].decode()
        assert np.allclose(model.tables["past"].decode(), past, atol=1e-3)
        return None

    def exact(self, model: DeviceModel, users: F32) -> None:
        """Check that a model computes these user rows from histories."""
        oracle, place_of = Oracle(model), {user: row for row, user in enumerate(self.users)}
        row_of = {item: row for row, item in enumerate(self.items)}
        for place, past in enumerate(self.data.train.lists()):
            rows = np.array([row_of[self.data.items.ids[int(row)]] for row in past])
            if 0 < len(rows) <= model.history_length:
                history, weights = oracle.pad(rows)
                found = oracle.encode(history[None], weights[None])[0]
                wanted = users[place_of[self.data.users[place]]]
                assert np.allclose(found, wanted, atol=1e-4)
