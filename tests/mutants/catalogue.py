"""About forty faults, each with the part of the suite that should notice it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "REASONS", "Mutant"]


@dataclass(frozen=True)
class Mutant:
    """A small fault.

    Args:
        name: what goes wrong.
        path: the file that it is in.
        old: the text that is replaced, which occurs once in the file.
        new: the text that replaces it.
        tests: the part of the suite that should fail, as arguments of pytest.
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


#: Why a fault that survives is no fault, by its name.
REASONS: dict[str, str] = {}

MODEL, DATA, FILES = "tests/model", "tests/data/test_dataset.py", "tests/files"
SCORER = ("tests/device/test_scorer.py", "tests/device/test_arguments.py")
TARGETS = ("tests/exporting/test_targets.py",)
PROOF = ("tests/exporting", "tests/test_bad_plugins.py")

CATALOGUE = (
    # The model.
    Mutant(
        "recency is off by one",
        "edgerec/model/history.py",
        "history_weights(np.arange(n, 0, -1, np.float32), n,",
        "history_weights(np.arange(n + 1, 1, -1, np.float32), n,",
        (MODEL, "tests/training/test_recency.py"),
    ),
    Mutant(
        "weights grow with the number of past items",
        "edgerec/model/history.py",
        "count**-normalization * age",
        "count**normalization * age",
        (MODEL, "tests/training/test_families.py"),
    ),
    Mutant(
        "the user's own weights are ignored",
        "edgerec/model/history.py",
        "padded[:n] *= np.asarray(weights, np.float32)[-n:]",
        "pass",
        SCORER,
    ),
    Mutant(
        "the oldest items are kept instead of the most recent ones",
        "edgerec/model/history.py",
        "np.asarray(rows, np.int32)[-history_length:]",
        "np.asarray(rows, np.int32)[:history_length]",
        (MODEL, *SCORER, "tests/training/test_families.py"),
    ),
    Mutant(
        "padding counts as a past item",
        "edgerec/model/oracle.py",
        "np.where(weights > 0, 0, MASKED)",
        "np.where(weights > -1, 0, MASKED)",
        TARGETS,
    ),
    Mutant(
        "the list is unsorted",
        "edgerec/model/oracle.py",
        "rows[np.lexsort((rows, -scores[rows]))][:k]",
        "rows[np.lexsort((rows, -scores[rows]))][:k][::-1]",
        (MODEL, *TARGETS),
    ),
    Mutant(
        "equal scores put the higher row first",
        "edgerec/model/oracle.py",
        "np.lexsort((rows, -scores[rows]))",
        "np.lexsort((-rows, -scores[rows]))",
        (MODEL, *TARGETS),
    ),
    Mutant(
        "a cosine head does not normalize its candidates",
        "edgerec/model/oracle.py",
        'return normalize(table) if self.model.head.kind == "cosine" else table',
        "return table",
        TARGETS,
    ),
    Mutant(
        "scales are those of the next row",
        "edgerec/model/integers.py",
        'values *= arrays["scale"][rows].astype(np.float32)[:, None]',
        'values *= np.roll(arrays["scale"], 1)[rows].astype(np.float32)[:, None]',
        ("tests/model/test_codecs.py",),
    ),
    Mutant(
        "offsets are dropped",
        "edgerec/model/integers.py",
        'if "offset" in arrays:',
        "if False:",
        ("tests/model/test_codecs.py",),
    ),
    Mutant(
        "the halves of a byte are swapped",
        "edgerec/model/integers.py",
        "nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)",
        "nibbles[..., 1::2] | (nibbles[..., 0::2] << 4)",
        ("tests/model/test_codecs.py",),
    ),
    Mutant(
        "numbers beyond half precision become infinity",
        "edgerec/model/codecs.py",
        "if matrix.size and float(np.abs(matrix).max()) > 65504:",
        "if False:",
        ("tests/model/test_codecs.py",),
    ),
    Mutant(
        "ids are looked up one row off",
        "edgerec/model/items.py",
        "return place if order is None else order[place]",
        "return place if order is None else order[place - 1]",
        (MODEL, *SCORER),
    ),
    Mutant(
        "duplicate ids are accepted",
        "edgerec/model/items.py",
        "wrong = (low > high) | ((low == high) & (low % 257 == 0))",
        "wrong = low > high",
        (MODEL,),
    ),
    Mutant(
        "a model with a row outside the catalogue is accepted",
        "edgerec/model/device_model.py",
        "int(self.popular.min()) >= 0 and int(self.popular.max()) < len(self.items)",
        "int(self.popular.min()) >= 0",
        (MODEL,),
    ),
    Mutant(
        "the limit on what an encoder computes is not checked",
        "edgerec/model/ops.py",
        "if numbers > _MOST_NUMBERS or products > _MOST_PRODUCTS:",
        "if False:",
        (MODEL,),
    ),
    # Files.
    Mutant(
        "digests are not compared",
        "edgerec/files/container.py",
        'if digest.hexdigest() != entry["sha256"]:',
        "if False:",
        (FILES,),
    ),
    Mutant(
        "the header's digest is not compared",
        "edgerec/files/container.py",
        "if hashlib.sha256(raw).digest() != self._map[16:48]:",
        "if False:",
        (FILES,),
    ),
    Mutant(
        "NaN in a file is accepted",
        "edgerec/model/model_file.py",
        "if not np.isfinite(flat[start : start + _PIECE]).all():",
        "if False:",
        (MODEL, "tests/contracts"),
    ),
    Mutant(
        "a write is not atomic",
        "edgerec/files/atomic.py",
        "            except BaseException:\n",
        "            except KeyError:\n",
        (FILES,),
    ),
    Mutant(
        "permissions are not kept",
        "edgerec/files/atomic.py",
        "os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))",
        "pass",
        (FILES,),
    ),
    # Data.
    Mutant(
        "the oldest interactions are held out instead of the most recent ones",
        "edgerec/data/dataset.py",
        "return self._split(share, -np.arange(len(self.train)))",
        "return self._split(share, np.arange(len(self.train)))",
        (DATA,),
    ),
    Mutant(
        "held-out interactions stay in the training data",
        "edgerec/data/dataset.py",
        "train=self.train.take(~held), test=",
        "train=self.train, test=",
        (DATA, "tests/building"),
    ),
    Mutant(
        "k_core keeps items with one interaction too few",
        "edgerec/data/dataset.py",
        "(users[self.train.users] < k) | (items[self.train.items] < k)",
        "(users[self.train.users] < k) | (items[self.train.items] < k - 1)",
        (DATA,),
    ),
    # The device.
    Mutant(
        "seen items are recommended",
        "edgerec/device/scorer.py",
        "for row, score in found if row not in rows)",
        "for row, score in found)",
        SCORER,
    ),
    Mutant(
        "an item that occurs twice counts at its first position",
        "edgerec/device/scorer.py",
        "            rows.pop(row, None)\n",
        "",
        SCORER,
    ),
    Mutant(
        "what a runtime returns is not checked",
        "edgerec/device/scorer.py",
        "if not right or not np.isfinite(scores).all():",
        "if False:",
        SCORER,
    ),
    Mutant(
        "the budget is not compared",
        "edgerec/contracts/device.py",
        'elif (value > limit) if bound == "max" else (value < limit):',
        "elif False:",
        ("tests/building", "tests/test_bad_input.py"),
    ),
    Mutant(
        "the plugin API version is not compared",
        "edgerec/contracts/checks.py",
        "    if version != API_VERSION:\n",
        "    if False:\n",
        ("tests/contracts",),
    ),
    # Training and measuring.
    Mutant(
        "NDCG's ideal list has one hit too many",
        "edgerec/building/metrics.py",
        "ideal[min(k, len(rows)) - 1]",
        "ideal[min(k, len(rows) + 1) - 1]",
        ("tests/building/test_metrics.py",),
    ),
    Mutant(
        "recall is divided by k",
        "edgerec/building/metrics.py",
        "float(np.isin(top[:k], rows).sum()) / len(rows)",
        "float(np.isin(top[:k], rows).sum()) / k",
        ("tests/building/test_metrics.py",),
    ),
    # The proof.
    Mutant(
        "the proof ignores the overlap",
        "edgerec/exporting/proof.py",
        "if parity.overlap < MIN_OVERLAP or not",
        "if not",
        PROOF,
    ),
    Mutant(
        "the proof ignores the scores",
        "edgerec/exporting/proof.py",
        "or not parity.score_error <= MAX_SCORE_ERROR:",
        "or False:",
        PROOF,
    ),
    Mutant(
        "the proof weighs all items alike",
        "edgerec/exporting/proof.py",
        "np.exp(rng.uniform(np.log(0.03), np.log(30), len(rows)))",
        "np.ones(len(rows))",
        PROOF,
    ),
    Mutant(
        "the proof accepts a list out of order",
        "edgerec/exporting/proof.py",
        "if np.any(np.diff(scores) > TIE * np.abs(scores).max()):",
        "if False:",
        PROOF,
    ),
    # Targets.
    Mutant(
        "numpy scans with the scales of the next row",
        "targets/edgerec_numpy/scan.py",
        "scores *= affine.scale[rows]",
        "scores *= np.roll(affine.scale, 1)[rows]",
        TARGETS,
    ),
    Mutant(
        "numpy forgets where a block of rows starts",
        "targets/edgerec_numpy/scan.py",
        "(found + start).astype(np.int32)",
        "found.astype(np.int32)",
        TARGETS,
    ),
    Mutant(
        "onnx ignores weights",
        "targets/edgerec_onnx/lower.py",
        '"weights": graph.add("Reshape", "weights", graph.constant([-1, 1]))',
        '"weights": graph.add("Cast", graph.add("Cast", graph.add("Reshape", "weights", '
        "graph.constant([-1, 1])), to=9), to=1)",
        TARGETS,
    ),
    Mutant(
        "onnx returns one item too few",
        "targets/edgerec_onnx/lower.py",
        "graph.constant([signature.top_k]))",
        "graph.constant([signature.top_k - 1]))",
        TARGETS,
    ),
    Mutant(
        "tflite takes the softmax over the wrong axis",
        "targets/edgerec_tflite/lower.py",
        "wide = (shape[1], shape[0])\n                turn = graph.small([1, 0])",
        "wide = (shape[0], shape[1])\n                turn = graph.small([0, 1])",
        TARGETS,
    ),
    Mutant(
        "tflite drops the offsets of a scan",
        "targets/edgerec_tflite/lower.py",
        'logits = graph.op("ADD", [logits, shift], layout)',
        'logits = graph.op("MUL", [logits, graph.small(1.0)], layout)',
        TARGETS,
    ),
    Mutant(
        "torchscript swaps the halves of a byte",
        "targets/edgerec_torchscript/lower.py",
        "return (packed << 4) >> 4, packed >> 4",
        "return packed >> 4, (packed << 4) >> 4",
        TARGETS,
    ),
    # Compressors.
    Mutant(
        "pq looks up the next codeword",
        "plugins/edgerec_pq/codec.py",
        "values = lookup(codes, self._words(arrays))",
        "values = lookup(codes, np.roll(self._words(arrays), 1, axis=1))",
        ("tests/plugins/test_pq.py",),
    ),
    Mutant(
        "sparse rows are shifted by one",
        "plugins/edgerec_prune/sparse.py",
        'dense[out_rows, arrays["columns"][places]] = values',
        'dense[np.roll(out_rows, 1), arrays["columns"][places]] = values',
        ("tests/plugins",),
    ),
)
