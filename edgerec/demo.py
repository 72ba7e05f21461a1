"""The main job, end to end, on data that a person can judge: films."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.console import Console
from rich.text import Text

from edgerec.progress import progress_bar
from edgerec.recipe import Recipe, build, find_device
from edgerec.report import print_built
from edgerec.score import Scorer
from edgerec.sources import movielens_100k
from edgerec.store import save_model
from edgerec.training import train

__all__ = ["run_demo"]

#: Star Wars, The Empire Strikes Back, Return of the Jedi, Raiders of the Lost Ark, Alien.
HISTORY = ("50", "172", "181", "174", "183")


def run_demo(folder: Path, device_name: str, epochs: int, console: Console) -> None:
    """Fetch, train, compress, export to every installed target, recommend, measure."""
    # Whatever targets the device has, the demo shows every installed one.
    device = dataclasses.replace(find_device(device_name), targets=())
    _step(console, "1  MovieLens-100K", ": 943 people, 1,682 films, 100,000 ratings")
    dataset = movielens_100k().split_random(0.2, seed=0)
    _step(console, "2  Train HistoryGCN", ", for recommending from a history alone")
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
    titles = [dataset.items.title(dataset.items.rows[item]) for item in HISTORY]
    _step(console, "4  Recommend", f" to somebody who saw {', '.join(titles)}")
    lists: dict[tuple[str, ...], list[str]] = {}
    for bundle in built:
        found = Scorer.open(bundle.path).recommend(HISTORY, 10)
        lists.setdefault(tuple(r.title for r in found), []).append(bundle.target)
    for films, targets in lists.items():
        console.print(f"   {', '.join(targets)}:", highlight=False)
        for place, title in enumerate(films, 1):
            console.print(f"   {place:2d}  {title}", highlight=False, markup=False)
    _step(console, "5  Measured", " on the written files, each in a fresh process")
    print_built(built, model.table_bytes, console)


def _step(console: Console, name: str, told: str) -> None:
    console.print(Text.assemble((name, "bold"), told))
