"""Texts as vectors: what a sentence encoder makes of descriptions, when a data set is built.

Encoders are those of sentence-transformers (Reimers & Gurevych, "Sentence-BERT", EMNLP 2019): texts
that mean the same are close, whether or not they share a word. A device has no encoder; it has rows
that learned from the vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgerec.errors import DataError, OptionError
from edgerec.model.codecs import F32

__all__ = ["encode_texts"]


def encode_texts(texts: Sequence[str], encoder: str | Callable[[list[str]], Any]) -> F32:
    """Vectors of texts, float32[n, e], for ``Features.of(vectors=…)``.

    A text that is empty gets the mean of the others, which says nothing.

    Args:
        texts: n texts.
        encoder: the name of a model of sentence-transformers, or the folder of one; or a function
            from texts to vectors. Weights are read from safetensors alone, and no code comes with
            them.

    Raises:
        DataError: all texts are empty, or the encoder fails or returns something else.
        OptionError: sentence-transformers is not installed.
    """
    known = [place for place, text in enumerate(texts) if text.strip()]
    if not known:
        raise DataError("expected texts, got none that is not empty")
    encode = _load(encoder) if isinstance(encoder, str) else encoder
    given = [texts[place] for place in known]
    vectors = np.asarray(encode(given), np.float32)
    if vectors.ndim != 2 or len(vectors) != len(given) or not np.isfinite(vectors).all():
        raise DataError(
            f"the encoder returned {list(vectors.shape)} for {len(given):,} texts; expected one "
            "row of finite numbers for each"
        )
    found: F32 = np.tile(vectors.mean(0), (len(texts), 1))
    found[known] = vectors
    return found


def _load(name: str) -> Callable[[list[str]], Any]:
    """A model of sentence-transformers.

    Raises:
        DataError: there is none of this name, or it is not in safetensors.
        OptionError: sentence-transformers is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError:
        raise OptionError(
            "texts are encoded by sentence-transformers; pip install 'edgerec[text]'"
        ) from None
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    try:
        model = SentenceTransformer(name, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"the encoder {name!r} cannot be loaded: {error}") from None
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # as above
    return lambda texts: model.encode(texts, show_progress_bar=False)
