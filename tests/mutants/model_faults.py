"""Faults in models, files and data."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["FAULTS"]

MODEL, DATA, FILES = "tests/model", "tests/data/test_dataset.py", "tests/files"
SCORER = ("tests/device/test_scorer.py", "tests/device/test_arguments.py")
TARGETS = ("tests/exporting/test_targets.py",)

FAULTS = (
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
        "absent = (history < 0)",
        "absent = (history < -1)",
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
        "row: int = place if order is None else order[place]",
        "row: int = place if order is None else order[place - 1]",
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
        "edgerec/model/model_checks.py",
        "int(model.popular.min()) >= 0 and int(model.popular.max()) < len(model.items)",
        "int(model.popular.min()) >= 0",
        (MODEL,),
    ),
    Mutant(
        "the limit on what an encoder computes is not checked",
        "edgerec/model/ops/inference.py",
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
        "return self._split(share, -np.arange(len(self.train)), part)",
        "return self._split(share, np.arange(len(self.train)), part)",
        (DATA,),
    ),
    Mutant(
        "held-out interactions stay in the training data",
        "edgerec/data/dataset.py",
        "train, rest = self.train.take(~held), self",
        "train, rest = self.train, self",
        (DATA, "tests/building"),
    ),
    Mutant(
        "what was held out to choose by is no history at test time",
        "edgerec/data/dataset.py",
        "else self.train.joined(self.valid)",
        "else self.train",
        (DATA,),
    ),
    Mutant(
        "a search takes the smallest chain, whatever it keeps",
        "edgerec/building/search/chains.py",
        "if one is best or ratio.high >= 1:",
        "if True:",
        ("tests/building",),
    ),
    Mutant(
        "a test file's repetitions are not dropped",
        "edgerec/data/readers.py",
        'how="anti"',
        'how="left"',
        ("tests/data/test_nasty.py",),
    ),
    Mutant(
        "k_core keeps items with one interaction too few",
        "edgerec/data/dataset.py",
        "(users[self.train.users] < k) | (items[self.train.items] < k)",
        "(users[self.train.users] < k) | (items[self.train.items] < k - 1)",
        (DATA,),
    ),
)
