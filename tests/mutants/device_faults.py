"""Faults on the device, in what is measured, in the proof, and in targets and compressors."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["FAULTS"]

SCORER = ("tests/device/test_scorer.py", "tests/device/test_arguments.py")
TARGETS = ("tests/exporting/test_targets.py",)
BLOCKS = ("tests/targets/test_blocks.py",)
CODES = ("tests/targets/test_codes.py",)
PROOF = ("tests/exporting/test_proof.py", "tests/test_bad_plugins.py")

FAULTS = (
    # The device.
    Mutant(
        "seen items are recommended",
        "edgerec/model/history.py",
        "[row not in seen for row in rows.tolist()]",
        "[row >= 0 for row in rows.tolist()]",
        SCORER,
    ),
    Mutant(
        "what a device is told of its user is ignored",
        "edgerec/device/past.py",
        "return named.code(context)",
        "return named.code({})",
        ("tests/training/test_user_context.py",),
    ),
    Mutant(
        "files are measured without the context of users",
        "edgerec/building/measured.py",
        'entry["context"] = contexts[number]',
        'entry["context"] = {}',
        ("tests/training/test_user_context.py",),
    ),
    Mutant(
        "an item that occurs twice counts at its first position",
        "edgerec/model/history.py",
        "np.unique(rows[::-1], return_index=True)",
        "np.unique(rows, return_index=True)",
        SCORER,
    ),
    Mutant(
        "what a runtime returns is not checked",
        "edgerec/device/call.py",
        'scores).all():\n            raise self._damaged("something other than rows with',
        'scores).any():\n            raise self._damaged("something other than rows with',
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
        "edgerec/data/metrics.py",
        "np.minimum(k, counts) - 1",
        "np.minimum(k, counts + 1) - 1",
        ("tests/data/test_metrics.py",),
    ),
    Mutant(
        "recall is divided by k",
        "edgerec/data/metrics.py",
        "hits.sum(1) / counts",
        "hits.sum(1) / k",
        ("tests/data/test_metrics.py",),
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
        "edgerec/exporting/answers.py",
        "if ids.size and np.any(np.diff(scores) > TIE * np.abs(scores).max()):",
        "if False:",
        PROOF,
    ),
    # Targets.
    Mutant(
        "numpy scans with the scales of the next row",
        "targets/edgerec_numpy/scan.py",
        "scores *= affine.scale[rows].reshape(-1)",
        "scores *= np.roll(affine.scale, 1)[rows].reshape(-1)",
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
        "targets/edgerec_onnx/history.py",
        'weights = graph.add("Mul", weights, own)',
        'weights = graph.add("Max", weights, graph.add("Mul", own, graph.constant(0.0)))',
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
        "targets/edgerec_tflite/ops.py",
        "    if axis == 1:\n        return",
        "    if axis == 0:\n        return",
        TARGETS,
    ),
    Mutant(
        "tflite drops the offsets of a scan",
        "targets/edgerec_tflite/plain.py",
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
        "edgerec/model/sparse_rows.py",
        "out_rows = np.repeat(np.arange(len(wanted)), lengths)",
        "out_rows = np.roll(np.repeat(np.arange(len(wanted)), lengths), 1)",
        ("tests/plugins/test_sparse.py",),
    ),
    # Blocks of which some are read.
    Mutant(
        "the oracle reads the blocks of the lowest scores",
        "edgerec/model/blocks.py",
        'order = np.argsort(-scores, axis=1, kind="stable")',
        'order = np.argsort(scores, axis=1, kind="stable")',
        BLOCKS,
    ),
    Mutant(
        "radii do not count",
        "edgerec/model/blocks.py",
        "[user, OPTIMISM * length]",
        "[user, 0 * length]",
        BLOCKS,
    ),
    Mutant(
        "evaluation ranks all rows where a device reads some",
        "edgerec/model/oracle.py",
        "if blocks is not None and centroids is not None:",
        "if False:",
        ("tests/plugins/test_cluster.py",),
    ),
    Mutant(
        "onnx lists rows behind the last one",
        "targets/edgerec_onnx/nearest.py",
        "if table.rows % height:",
        "if False:",
        BLOCKS,
    ),
    Mutant(
        "clusters hold one row too many",
        "plugins/edgerec_cluster/balanced.py",
        "fits = rank < room[ranked]",
        "fits = rank <= room[ranked]",
        ("tests/plugins/test_cluster.py",),
    ),
    Mutant(
        "lists may be longer than what is read",
        "edgerec/exporting/export.py",
        "(least := blocks.least_rows(n)) < signature.returned",
        "(least := blocks.least_rows(n)) < 0",
        BLOCKS,
    ),
    # Codewords of many rows.
    Mutant(
        "two bytes change places",
        "edgerec/model/structure.py",
        "high * np.uint16(256) + codes[0:paired:2]",
        "high + codes[0:paired:2] * np.uint16(256)",
        CODES,
    ),
    Mutant(
        "the last byte of an odd number is left out in onnx",
        "targets/edgerec_onnx/codes.py",
        'return str(body.add("Add", *found)) if len(found) > 1 else found[0]',
        "return found[0]",
        CODES,
    ),
    Mutant(
        "codes of 16 bits are read as signed",
        "targets/edgerec_tflite/codes.py",
        "graph.small([32768])",
        "graph.small([0])",
        CODES,
    ),
    Mutant(
        "runs inside a group are left out in tflite",
        "targets/edgerec_tflite/lines.py",
        "if self.step < self.height and self.runs > 1:",
        "if False:",
        CODES,
    ),
    Mutant(
        "all runs start at multiples",
        "edgerec/model/run_lines.py",
        "return math.gcd(64, *(int(start) for start in self.starts[self.ends > self.starts]))",
        "return 16",
        CODES,
    ),
)
