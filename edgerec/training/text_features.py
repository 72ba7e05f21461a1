r"""Text features: item vectors that also learn from the words of titles, for any family.

    x_i = e_i + Σ_{t ∈ words(i)} w_it W_{h(t)},    w_it ∝ log(n / n_t),  Σ_t w_it² = 1

e_i is the item's own vector, n_t the number of texts that contain a word, and h hashes words to the
rows of W (feature hashing: Weinberger et al., ICML 2009; inverse document frequency: Spärck Jones,
1972). Items that share words learn together. Message passing runs on x, and the lowered model
contains its result, so a device sees no text.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgerec.errors import OptionError
from edgerec.model.items import Items
from edgerec.training.gnn import GNN
from edgerec.training.graph import bag

__all__ = ["TextFeatures", "add_titles", "weigh_by_rarity", "words"]

#: The number of rows of W, a few times the words in a large catalogue, so that few collide.
_BUCKETS = 1 << 15


def add_titles(gnn: GNN, items: Items) -> None:
    """Add the words of the titles to a family's item vectors, in place.

    W starts at zero, so the vectors do not change until it is trained.

    Raises:
        OptionError: the catalogue has no titles.
    """
    if items.titles is None:
        raise OptionError(
            "features: the data set has no titles; add a titles file, or leave this option out"
        )
    gnn.add_module("text", TextFeatures(items.titles, gnn.items.shape[1]))


class TextFeatures(nn.Module):
    """Adds weighted sums of word vectors to item vectors, float[n, d].

    Args:
        texts: n texts.
        width: d.
        buckets: the number of rows of W.
    """

    indices: Tensor
    offsets: Tensor
    weights: Tensor

    def __init__(self, texts: Iterable[str], width: int, buckets: int = _BUCKETS) -> None:
        super().__init__()
        rows = [sorted({zlib.crc32(w.encode()) % buckets for w in words(t)}) for t in texts]
        counts = torch.tensor([len(row) for row in rows])
        flat = torch.tensor([bucket for row in rows for bucket in row], dtype=torch.int64)
        weights = weigh_by_rarity(torch.repeat_interleave(counts), flat, len(rows))
        # They follow from the titles, so that files need not keep them.
        self.register_buffer("indices", flat, persistent=False)
        offsets = nn.functional.pad(counts.cumsum(0), (1, 0))
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("weights", weights, persistent=False)
        self.words = nn.Parameter(torch.zeros(buckets, width))

    def forward(self, own: Tensor) -> Tensor:
        """Add the vectors of their words to item vectors."""
        return own + bag(self.words, self.indices, self.offsets, self.weights)


def weigh_by_rarity(owner: Tensor, feature: Tensor, n: int) -> Tensor:
    """Weights of n owners' features, int64[m] each: float[m], proportional to log(n / n_t).

    n_t is how often a feature occurs; the squares of an owner's weights add up to 1.
    """
    rarity = (n / torch.bincount(feature)[feature]).log()
    length = torch.zeros(n).index_add_(0, owner, rarity.square()).sqrt()
    return rarity / length.clamp(min=1e-12)[owner]


def words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case."""
    return re.findall(r"\w+", text.lower())
