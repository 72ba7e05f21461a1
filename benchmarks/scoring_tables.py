"""The pages that ``benchmarks.scoring`` writes: all results, and the table that the docs quote."""

from __future__ import annotations

from typing import Any

#: Codecs that take one byte per number or less, including those of peers.
SMALL = ("int8", "int4", "pq", "SQ8", "SQ4", "PQ16x4fs", "i8", "full int8")


LEGEND = """Made by `python -m benchmarks.scoring`; one thread, d = 64, random tables, milliseconds.

- *file ÷ data*: the size of the bundle, divided by that of its table and id map.
- *load*: opening the file in its runtime, which is already imported. *first*: the first
  recommendation.
- *p50*, *p95*: one recommendation after another, from ids to ids. For peers, only the scan and
  the top 20.
- *floor*: reading the table's bytes once. *from memory*: one recommendation. Both are p50, timed
  alternately, with cold caches. *÷ floor*: their ratio.
- *÷ kernel*: the time from memory, divided by that of the runtime's own integer kernel alone, the
  row *kernel:RUNTIME*, which neither finds the top 20 nor scores anything again. In int8, that of
  onnxruntime is over one matrix, and ours over tiles of 64 rows, which can be faster.
- *re-scoring*: the share of p50 that scoring again in float takes; "0 %" is within the noise.
- *RSS ÷ file*: peak memory beyond the runtime's own, divided by the size of the file. The
  runtime's own (*own MB*) is the peak with the same model of 1,000 items.
- *overlap*: of the top 20 with that of the uncompressed table. Random tables have no structure
  that a codec could use; see quality.md for trained ones.
- *export*: the seconds from a saved float32 model to a proven bundle (without training pq's
  codebooks), and the peak memory in MB.
- Rows at the end of a table, after the peers, are from a later run (`--add`): those of executorch
  from a separate environment, `--targets executorch --peers --add`, and those of ten million items,
  `--items 10000000 --targets numpy onnx tflite --codecs int8 --peers "faiss SQ8"
  "faiss PQ16x4fs" --add`. *pq* has 16 codes of 8 bits per item.
"""


#: The name and the format of each column.
COLUMNS = {
    "file bytes": ",d",
    "file ÷ data": ".3f",
    "load": ".0f",
    "first": ".1f",
    "p50": ".2f",
    "p95": ".2f",
    "from memory": ".2f",
    "floor": ".2f",
    "÷ floor": ".2f",
    "÷ kernel": ".2f",
    "re-scoring": ".0%",
    "RSS MB": ".0f",
    "own MB": ".0f",
    "RSS ÷ file": ".2f",
    "overlap": ".3f",
    "export s": ".1f",
    "export MB": ".0f",
}


def pages_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Markdown: all results with one table per size, and the table that the docs quote."""
    rows = [row | _by_kernel(row, rows) for row in rows]
    sizes = dict.fromkeys(r["items"] for r in rows)
    tables = [
        f"### {n:,} items\n\n{table_of([r for r in rows if r['items'] == n], COLUMNS)}"
        for n in sizes
    ]
    scans = [r for r in rows if r["items"] == 1_000_000 and "p50" in r and r["codec"] in SMALL]
    quoted = {
        name: COLUMNS[name] for name in ("p50", "÷ floor", "÷ kernel", "RSS ÷ file", "overlap")
    }
    return {"scoring.md": "\n".join([LEGEND, *tables]), "floor.md": table_of(scans, quoted)}


def _by_kernel(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, float]:
    """The time of a row over that of the kernel of its runtime."""
    if row["name"] not in ("onnx", "tflite") or "from memory" not in row:
        return {}
    runtime = row["runtime"].partition(" ")[0]
    wanted = row["items"], f"kernel:{runtime}", row["codec"]
    alone = [
        one["from memory"]
        for one in rows
        if (one["items"], one["name"], one["codec"]) == wanted and "from memory" in one
    ]
    return {"÷ kernel": row["from memory"] / alone[0]} if alone else {}


def table_of(rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """Markdown: one row per target, codec and runtime."""
    lines = [
        "| | codec | runtime | " + " | ".join(columns) + " |",
        "|---|---|---|" + "--:|" * len(columns),
    ]
    for r in rows:
        why = r.get("refused") or r.get("failed")
        cells = [f"{r[c]:{form}}" if c in r else "" for c, form in columns.items()]
        if why:
            cells[0] = f"{'refused' if 'refused' in r else 'failed'}: {why}".replace("|", "/")
        lines.append(
            f"| {r['name']} | {r['codec']} | {r.get('runtime', '')} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"
