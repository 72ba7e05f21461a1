"""Prescriptions: sets of symptoms, and the sets of herbs that physicians gave for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Prescriptions", "read_names", "read_pairs", "read_prescriptions"]


@dataclass(frozen=True)
class Prescriptions:
    """float32[n, symptoms] and float32[n, herbs] of zeros and ones."""

    symptoms: NDArray[np.float32]
    herbs: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.symptoms)

    def take(self, rows: NDArray[np.int64]) -> Prescriptions:
        """Some of them."""
        return Prescriptions(self.symptoms[rows], self.herbs[rows])


def read_prescriptions(path: Path, n_symptoms: int, n_herbs: int) -> Prescriptions:
    """Read one prescription per line: symptoms, a tab, herbs."""
    lines = [line.split("\t") for line in path.read_text("utf-8").splitlines() if line.strip()]
    found = []
    for place, count in ((0, n_symptoms), (1, n_herbs)):
        matrix = np.zeros((len(lines), count), np.float32)
        for row, line in enumerate(lines):
            matrix[row, [int(one) for one in line[place].split()]] = 1
        found.append(matrix)
    return Prescriptions(*found)


def read_names(path: Path) -> list[str]:
    """Read a name and its number per line; return names by number."""
    pairs = [line.rsplit(maxsplit=1) for line in path.read_text("utf-8").splitlines() if line]
    names = {int(number): name for name, number in pairs}
    return [names.get(number, str(number)) for number in range(max(names) + 1)]


def read_pairs(path: Path) -> NDArray[np.int64]:
    """Read pairs that are often given, or often occur, together: int64[2, pairs]."""
    return np.loadtxt(path, dtype=np.int64, ndmin=2)[:, :2].T
