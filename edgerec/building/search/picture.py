"""The picture of a search: quality kept against bytes, as an image and as a page with a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from edgerec.building.search.chains import Tried, front, points
from edgerec.contracts.device import Device
from edgerec.files.atomic import atomic_write, write_text

__all__ = ["draw"]

_SVG = "{http://www.w3.org/2000/svg}"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fff; --faint: #d5d9df; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #14181f;
  --faint: #343b46; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; background: #fff; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--faint); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
"""


def draw(
    tried: Sequence[Tried],
    device: Device,
    chosen: Tried | None,
    folder: Path,
    *,
    what: str = "NDCG@20 kept (validation)",
) -> tuple[Path, Path]:
    """Write ``pareto.png`` and ``pareto.html``; return their paths.

    Args:
        tried: the chains.
        device: the device whose budget to show.
        chosen: the chain that was built, or none.
        folder: where to write.
        what: what the quality of a chain is.
    """
    import matplotlib

    png, page = folder / "pareto.png", folder / "pareto.html"
    title = f"{device.name}: {what} against size"
    figure, titles = _figure(tried, device, chosen, title, what)
    with atomic_write(png) as file:
        figure.savefig(file, format="png")
    vector = io.StringIO()
    # Text stays text, and the same search gives the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgerec"}):
        figure.savefig(vector, format="svg", metadata={"Date": None})
    picture = _with_titles(vector.getvalue(), titles, title)
    write_text(page, _page(picture, tried, chosen, title, what))
    return png, page


def _figure(
    tried: Sequence[Tried], device: Device, chosen: Tried | None, title: str, what: str
) -> tuple[Any, dict[str, str]]:
    """The figure, and what each of its parts says, by the part's id."""
    # A Figure of its own: pyplot keeps global state and looks for a display.
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    best, budget = front(tried), device.budget
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    titles: dict[str, str] = {}
    named: set[str] = set()
    for number, one in enumerate(points(tried)):
        at = ([one.bundle_bytes or 0], [one.quality or 0])
        name = f"chain-{number}"
        titles[name] = f"{one.label}: {one.bundle_bytes:,} bytes, {one.quality:.2%} kept"
        over = not one.fits(budget.max_bundle_bytes)
        kind = "over budget" if over else "tried"
        label = None if kind in named else kind
        named.add(kind)
        style: dict[str, Any] = {"marker": "o", "ms": 5, "color": "#8a8f98", "label": label}
        style |= {"markerfacecolor": "none"} if over else {}
        if chosen is not None and one.number == chosen.number:
            titles[name] = f"chosen: {titles[name]}"
            label = f"chosen: {chosen.label}"
            style = {"marker": "*", "ms": 18, "color": "#c2410c", "label": label, "zorder": 4}
        axes.plot(*at, ls="none", gid=name, **style)
    axes.plot(
        [t.bundle_bytes or 0 for t in best],
        [t.quality or 0 for t in best],
        "o-",
        color="#0b66c3",
        drawstyle="steps-post",
        label="Pareto front",
    )
    if (limit := budget.max_bundle_bytes) is not None:
        axes.axvline(limit, ls="--", color="#333", label="most bytes", gid="limit-bytes")
        titles["limit-bytes"] = f"budget: at most {limit:,} bytes"
    if (least := budget.min_quality) is not None:
        axes.axhline(least, ls=":", color="#333", label="least quality", gid="limit-quality")
        titles["limit-quality"] = f"budget: at least {least:.1%} kept"
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: _bytes(size)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="size of the bundle", ylabel=what, title=title)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, markerscale=0.7)
    return figure, titles


def _bytes(size: float) -> str:
    """A size as an axis shows it, such as 50 kB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size:g} B"


def _with_titles(vector: str, titles: dict[str, str], title_of_all: str) -> str:
    """Add to the parts of an SVG what they say, which browsers show on hovering."""
    ElementTree.register_namespace("", _SVG[1:-1])
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(vector)  # noqa: S314  # matplotlib's own output
    for metadata in root.findall(f"{_SVG}metadata"):
        root.remove(metadata)
    name = ElementTree.Element(f"{_SVG}title", {"id": "name"})
    name.text = title_of_all
    root.insert(0, name)
    root.attrib |= {"role": "img", "aria-labelledby": "name"}
    for part in root.iter(f"{_SVG}g"):
        if part.get("id") in titles:
            title = ElementTree.Element(f"{_SVG}title")
            title.text = titles[part.attrib["id"]]
            part.insert(0, title)
    return ElementTree.tostring(root, encoding="unicode")


def _page(picture: str, tried: Sequence[Tried], chosen: Tried | None, title: str, what: str) -> str:
    best, rows = front(tried), []
    for one in sorted(points(tried), key=lambda t: t.bundle_bytes or 0):
        is_chosen = chosen is not None and one.number == chosen.number
        place = "chosen" if is_chosen else "front" if one in best else "tried"
        rows.append(
            f'<tr><th scope="row">{escape(one.label)}</th><td class="n">{one.bundle_bytes:,}</td>'
            f'<td class="n">{one.quality:.2%}</td><td>{place}</td></tr>'
        )
    title = escape(title)
    picked = (
        "No chain keeps the budget."
        if chosen is None
        else f"Chosen (the star): {escape(chosen.label)}."
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body><main><h1>{title}</h1><p>{picked} Blue points are "
        "on the Pareto front; dashed and dotted lines are the budget.</p>\n"
        f'{picture}\n<div class="scroll"><table><caption>Chains that ran, smallest first</caption>'
        '<thead><tr><th scope="col">chain</th><th scope="col" class="n">bytes</th><th scope="col" '
        f'class="n">{escape(what)}</th><th scope="col">place</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></main></body></html>\n"
    )
