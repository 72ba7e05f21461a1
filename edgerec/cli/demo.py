"""The demo: the main job from end to end, on films, whose recommendations anyone can judge."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.console import Console
from rich.text import Text

from edgerec.building.build import build
from edgerec.building.recipe import Recipe
from edgerec.cli.progress import progress_bar
from edgerec.cli.report import print_built
from edgerec.contracts.host import Host
from edgerec.data.sources import movielens_100k
from edgerec.device.scorer import Scorer
from edgerec.model.model_file import save_model
from edgerec.training.loop import train

__all__ = ["run_demo"]

#: Star Wars, The Empire Strikes Back, Return of the Jedi, Raiders of the Lost Ark, Alien.
_HISTORY = ("50", "172", "181", "174", "183")


def run_demo(folder: Path, device_name: str, epochs: int, console: Console) -> None:
    """Fetch, train, compress, export to every installed target, recommend and measure."""
    # The demo shows every installed target, whichever ones the device has.
    device = dataclasses.replace(Host.installed().device(device_name), targets=())
    _step(console, "1  MovieLens-100K", ": 943 people, 1,682 films, 100,000 ratings")
    dataset = movielens_100k().split_random(0.2, seed=0)
    _step(console, "2  Train HistoryGCN", ", which recommends from a history alone")
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "training.checkpoint"
    with progress_bar("training", console) as progress:
        trained = train(dataset, epochs=epochs, checkpoint=checkpoint, progress=progress)
    model = trained.to_device_model()
    save_model(model, folder / "films.model")
    checkpoint.unlink(missing_ok=True)
    _step(console, "3  Compress and export", f" to the budget of {device.name}")
    recipe = Recipe((("quantize", {"codec": "int8"}),), device=device)
    with progress_bar("building", console) as progress:
        built = build(model, dataset, recipe, folder, users=None, progress=progress)
    titles = [dataset.items.title(dataset.items.rows[item]) for item in _HISTORY]
    _step(console, "4  Recommend", f" to someone who saw {', '.join(titles)}")
    lists: dict[tuple[str, ...], list[str]] = {}
    for bundle in built:
        found = Scorer.open(bundle.path, trust=True).recommend(_HISTORY, 10)
        lists.setdefault(tuple(r.title for r in found), []).append(bundle.target)
    for films, targets in lists.items():
        console.print(f"   {', '.join(targets)}:", highlight=False)
        for place, title in enumerate(films, 1):
            console.print(f"   {place:2d}  {title}", highlight=False, markup=False)
    _step(console, "5  Measured", " on the written files, each in a fresh process")
    print_built(built, model.table_bytes, console, device.name)


def _step(console: Console, name: str, what: str) -> None:
    console.print(Text.assemble((name, "bold"), what))
