"""The Pareto front of quality kept against bytes: which chains are on it, and its picture."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from edgerec.atomic import atomic_write, write_text
from edgerec.device import Device

__all__ = ["Chain", "Tried", "draw", "front", "label"]

#: Compressors in order, each (name, options), as in a recipe.
Chain = tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class Tried:
    """One chain that the planner looked at.

    Args:
        number: which trial of the study.
        chain: the compressors; none is the uncompressed model.
        bundle_bytes: tables, catalogue and constants, computed; none if it was never known.
        table_bytes: item tables alone.
        quality: NDCG@20 kept on validation; none for a chain that was not run to its end.
        overlap: top-20 overlap with the uncompressed model.
        steps: for each step that ran its options, bytes, quality, overlap and seconds.
        reason: why the chain was given up; none for one that ran.
        too_large: whether it was given up for its size alone.
        targets: those that take the model that came of it, of the ones searched for.
    """

    number: int
    chain: Chain
    bundle_bytes: int | None = None
    table_bytes: int | None = None
    quality: float | None = None
    overlap: float | None = None
    steps: Sequence[Mapping[str, Any]] = field(default_factory=list)
    reason: str | None = None
    too_large: bool = False
    targets: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The chain as ``edgerec build --compress`` takes it."""
        return label(self.chain)

    def fits(self, limit: int | None) -> bool:
        """Whether its size is known and at most ``limit``."""
        return self.bundle_bytes is not None and (limit is None or self.bundle_bytes <= limit)


def label(chain: Chain) -> str:
    """Write a chain as specs, ``prune:share=0.5 → quantize:codec=int8``."""
    specs = []
    for name, options in chain:
        # None is an option that is left out.
        given = ",".join(f"{o}={value}" for o, value in options.items() if value is not None)
        specs.append(f"{name}:{given}" if given else name)
    return " → ".join(specs) or "uncompressed"


def front(tried: Iterable[Tried]) -> list[Tried]:
    """Chains that no other one beats in both bytes and quality, smallest first."""
    found: list[Tried] = []
    for one in sorted(_points(tried), key=lambda t: (t.bundle_bytes, -(t.quality or 0))):
        if not found or (one.quality or 0) > (found[-1].quality or 0):
            found.append(one)
    return found


def draw(
    tried: Sequence[Tried], device: Device, chosen: Tried | None, folder: Path
) -> tuple[Path, Path]:
    """Write ``pareto.png`` and ``pareto.html``; return their paths."""
    png, page = folder / "pareto.png", folder / "pareto.html"
    with atomic_write(png) as file:
        file.write(_png(tried, device, chosen))
    write_text(page, _html(tried, device, chosen))
    return png, page


def _points(tried: Iterable[Tried]) -> list[Tried]:
    return [t for t in tried if t.quality is not None and t.bundle_bytes is not None]


def _title(device: Device) -> str:
    return f"{device.name}: quality kept against size"


def _png(tried: Sequence[Tried], device: Device, chosen: Tried | None) -> bytes:
    # A Figure of its own, drawn by Agg; pyplot keeps global state and looks for a display.
    from matplotlib.figure import Figure

    points, best, budget = _points(tried), front(tried), device.budget
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    bytes_of, quality_of = [t.bundle_bytes or 0 for t in points], [t.quality or 0 for t in points]
    axes.scatter(bytes_of, quality_of, s=28, color="#8a8f98", label="tried")
    axes.plot(
        [t.bundle_bytes or 0 for t in best],
        [t.quality or 0 for t in best],
        "o-",
        color="#0b66c3",
        drawstyle="steps-post",
        label="Pareto front",
    )
    if chosen is not None:
        at = ([chosen.bundle_bytes or 0], [chosen.quality or 0])
        axes.plot(*at, "*", ms=18, color="#c2410c", label=f"chosen: {chosen.label}")
    if budget.max_bundle_bytes is not None:
        axes.axvline(budget.max_bundle_bytes, ls="--", color="#333", label="most bytes")
    if budget.min_quality is not None:
        axes.axhline(budget.min_quality, ls=":", color="#333", label="least quality")
    axes.set_xscale("log")
    axes.set(xlabel="bytes of the bundle", ylabel="NDCG@20 kept (validation)", title=_title(device))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 840, 480, 70, 20, 20, 55


class _Scale:
    """Where a size (logarithmic) and a quality (linear) lie in the picture."""

    def __init__(self, sizes: Sequence[float], qualities: Sequence[float]) -> None:
        low, high = math.log10(min(sizes)), math.log10(max(sizes))
        margin = max(0.05 * (high - low), 0.02)
        self.x0, self.x1 = low - margin, high + margin
        margin = max(0.05 * (max(qualities) - min(qualities)), 0.005)
        self.y0, self.y1 = min(qualities) - margin, max(qualities) + margin

    def x(self, size: float) -> float:
        share = (math.log10(size) - self.x0) / (self.x1 - self.x0)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, quality: float) -> float:
        share = (quality - self.y0) / (self.y1 - self.y0)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _svg(tried: Sequence[Tried], device: Device, chosen: Tried | None) -> str:
    points, best, budget = _points(tried), front(tried), device.budget
    sizes = [float(t.bundle_bytes or 1) for t in points]
    qualities = [t.quality or 0.0 for t in points]
    limits = (budget.max_bundle_bytes, budget.min_quality)
    scale = _Scale(
        sizes + [float(v) for v in limits[:1] if v] or [1.0],
        qualities + [float(v) for v in limits[1:] if v] or [1.0],
    )
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for step in range(5):
        size = 10 ** (scale.x0 + (scale.x1 - scale.x0) * (step + 0.5) / 5)
        quality = scale.y0 + (scale.y1 - scale.y0) * (step + 0.5) / 5
        x, y = scale.x(size), scale.y(quality)
        parts.append(f'<path class="grid" d="M{x} {_TOP}V{bottom}M{_LEFT} {y}H{right}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 20}" text-anchor="middle">{size:,.0f}</text>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{quality:.1%}</text>')
    middle = (_TOP + bottom) / 2
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 10}">bytes of the bundle</text>')
    parts.append(
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
        "NDCG@20 kept</text>"
    )
    if limits[0] is not None:
        x = scale.x(limits[0])
        parts.append(
            f'<path class="limit" d="M{x} {_TOP}V{bottom}"><title>budget: at most '
            f'{limits[0]:,} bytes</title></path><text x="{x - 6}" y="{_TOP + 12}" '
            'text-anchor="end">most bytes</text>'
        )
    if limits[1] is not None:
        y = scale.y(limits[1])
        parts.append(
            f'<path class="limit" d="M{_LEFT} {y}H{right}"><title>budget: at least '
            f'{limits[1]:.1%} kept</title></path><text x="{_LEFT + 6}" y="{y - 6}">'
            "least quality</text>"
        )
    # Stairs, not slopes: between two sizes there is only the smaller one's quality.
    corners = [(scale.x(t.bundle_bytes or 1), scale.y(t.quality or 0)) for t in best]
    line = "".join(f"H{x}V{y}" if n else f"M{x} {y}" for n, (x, y) in enumerate(corners))
    parts.append(f'<path class="front" d="{line}"/>')
    for one in points:
        x, y = scale.x(one.bundle_bytes or 1), scale.y(one.quality or 0)
        text = f"{one.label}: {one.bundle_bytes:,} bytes, {one.quality:.2%} kept"
        if chosen is not None and one.number == chosen.number:
            shape = f'<path class="chosen" d="M{x} {y - 10}l9 10l-9 10l-9 -10z">'
            text, end = f"chosen: {text}", "</path>"
        else:
            kind = "best" if one in best else "tried"
            shape, end = f'<circle class="{kind}" cx="{x}" cy="{y}" r="5">', "</circle>"
        parts.append(f"{shape}<title>{escape(text)}</title>{end}")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="name what">'
        f'<title id="name">{escape(_title(device))}</title><desc id="what">Each point is a chain; '
        "the table below has the same figures.</desc>" + "".join(parts) + "</svg>"
    )


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fff; --faint: #d5d9df;
  --tried: #6b7280; --front: #0b66c3; --chosen: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #14181f;
  --faint: #343b46; --tried: #9aa3b0; --front: #6db3ff; --chosen: #ff9a5c; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--ink); }
.grid { stroke: var(--faint); } .limit { stroke: var(--ink); stroke-dasharray: 6 4; }
.front { fill: none; stroke: var(--front); stroke-width: 2; }
.tried { fill: var(--paper); stroke: var(--tried); stroke-width: 2; }
.best { fill: var(--front); } .chosen { fill: var(--chosen); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--faint); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
"""


def _html(tried: Sequence[Tried], device: Device, chosen: Tried | None) -> str:
    best, rows = front(tried), []
    for one in sorted(_points(tried), key=lambda t: t.bundle_bytes or 0):
        is_chosen = chosen is not None and one.number == chosen.number
        place = "chosen" if is_chosen else "front" if one in best else "tried"
        rows.append(
            f'<tr><th scope="row">{escape(one.label)}</th><td class="n">{one.bundle_bytes:,}</td>'
            f'<td class="n">{one.quality:.2%}</td><td>{place}</td></tr>'
        )
    title = escape(_title(device))
    picked = (
        "No chain keeps the budget."
        if chosen is None
        else f"Chosen (the diamond): {escape(chosen.label)}."
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body><main><h1>{title}</h1><p>{picked} Filled "
        "points are on the Pareto front; dashed lines are the budget.</p>\n"
        f'{_svg(tried, device, chosen)}\n<div class="scroll"><table><caption>Chains that ran, '
        'smallest first</caption><thead><tr><th scope="col">chain</th><th scope="col" class="n">'
        'bytes</th><th scope="col" class="n">NDCG@20 kept</th><th scope="col">place</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div></main></body></html>\n"
    )
