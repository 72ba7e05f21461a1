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

    Args:
        texts: n texts. One that is empty has the vector that the encoder gives to it.
        encoder: the name of a model of sentence-transformers, or the folder of one, which runs on
            the device that sentence-transformers chooses; or a function from texts to vectors.

    Raises:
        DataError: there are no texts, or the encoder fails or returns something else.
        OptionError: sentence-transformers is not installed.
    """
    given = [] if isinstance(texts, str) else list(texts)
    if not given or not all(isinstance(text, str) for text in given):
        raise DataError(f"expected a list of texts, got {texts!r:.60}")
    encode = _load(encoder) if isinstance(encoder, str) else encoder
    try:
        found = np.asarray(encode(given), np.float32)
    except Exception as error:
        raise DataError(f"the encoder failed: {type(error).__name__}: {error}") from error
    if found.ndim != 2 or len(found) != len(given) or not np.isfinite(found).all():
        raise DataError(
            f"the encoder returned {list(found.shape)} for {len(given):,} texts; expected one "
            "row of finite numbers for each"
        )
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
