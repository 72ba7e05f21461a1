"""Scorer: recommends from a bundle, on the device, with numpy and the bundle's runtime."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.contracts.opening import find_runner, open_bundle
from edgerec.device.arguments import check_count, check_history
from edgerec.device.call import Call
from edgerec.device.listing import Lister
from edgerec.device.past import Situation, UserVector, read_past
from edgerec.device.recommendations import Recommendations
from edgerec.device.threads import check_threads
from edgerec.errors import DataError, OptionError, TargetError, UnknownNameError
from edgerec.model.attribution import attribute_errors
from edgerec.model.integers import F32

__all__ = ["Scorer"]


class Scorer:
    """Recommends from an open bundle. Threads may share it.

    It is a context manager, which closes it at the end of the block.

    Args:
        bundle: an open bundle.
        runtime: the installed runtime to use; the target's best one by default.
        threads: the number of threads of the runtime.
        host: the plugins, one of which runs the bundle; the installed ones by default.
        trust: whether to run a payload that can do whatever this process can (torchscript,
            executorch), because it comes from someone you trust.

    Raises:
        UnknownNameError: the bundle's target is not installed.
        RuntimeMissingError: the requested runtime is not installed, or none is.
        OptionError: the number of threads is out of range, or the payload needs trust and
            ``trust`` is false.
        TargetError: the runtime does not accept the payload.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: str | None = None,
        threads: int = 1,
        host: Host | None = None,
        *,
        trust: bool = False,
    ) -> None:
        self.bundle = bundle
        check_threads(threads)
        self.signature = bundle.signature
        try:
            runner = find_runner(bundle, host)
        except UnknownNameError as error:
            error.args = (f"{bundle.path}: {error}",)
            raise
        if runner.needs_trust and not trust:
            raise OptionError(
                f"{bundle.path}: a {bundle.target} payload can do whatever this process can; pass "
                "trust=True (--trust) if you trust its author"
            )
        who = f"{bundle.path}: target {bundle.target}"
        with attribute_errors(who, TargetError):
            artefact = runner.load(bundle, runtime, threads)
        self._lister: Lister | None = Lister(bundle, Call(bundle, artefact, who))

    @classmethod
    def open(
        cls,
        path: str | Path,
        runtime: str | None = None,
        threads: int = 1,
        host: Host | None = None,
        *,
        trust: bool = False,
    ) -> Scorer:
        """Open a bundle file and its runtime."""
        return cls(open_bundle(path, host=host), runtime, threads, host, trust=trust)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the runtime and the file; recommending is an error from now on."""
        self._lister = None
        self.bundle.close()

    def recommend(
        self,
        history: Sequence[object],
        k: int = 10,
        *,
        weights: Sequence[float | str] | None = None,
        user_vector: UserVector | None = None,
        context: Situation | None = None,
        exclude: Collection[object] = (),
        only: Collection[object] | None = None,
        strict: bool = False,
    ) -> Recommendations:
        """Recommend k items that are not in the history, unless the model recommends these, too.

        Fewer than k are returned only if there are no more.

        Args:
            history: ids of past items, most recent last; an id that occurs twice counts once, at
                its most recent position, unless the model counts every one.
            k: the number of items, at most the bundle's ``top_k``.
            weights: for a model that reads them, a number per past item (such as a rating) from
                1e-6 to 1e6, or the negative of one for what was disliked; 1 by default. It is read
                as float32. A model that was trained on kinds of events also takes their names, such
                as "buy". Those of unknown ids are ignored.
            user_vector: for a model that reads it, the user's own vector, or the path of the file
                that `edgerec user-vector` wrote.
            context: for a model that reads it, what describes the situation, by name, such as
                ``{"age": 31, "country": "DE"}``; what is left out is not known. For a model
                without names, the numbers that it reads.
            exclude: ids of items not to recommend.
            only: ids of the items to choose from, by default the whole catalogue.
            strict: whether an unknown id in the history is an error instead of being skipped and
                counted.

        Raises:
            OptionError: an argument has the wrong type, is out of range, or is not an input of the
                model; or the scorer is closed.
            DataError: ``strict``, and an id is not in the catalogue.
            TargetError: the runtime failed, or returned something that is not a list.
        """
        lister = self._open()
        check_count(k, self.signature.top_k)
        past, unknown = read_past(self.bundle, history, weights, user_vector, context)
        if unknown and strict:
            raise _unknown("history", unknown)
        left_out = lister.rows(exclude, "exclude") | past.seen
        wanted = None if only is None else lister.rows(only, "only") - left_out
        if not past.rows:
            rest = (row for row in lister.in_turn() if row not in left_out)
            chosen = (row for row in rest if wanted is None or row in wanted)
            return Recommendations(lister.unscored(k, chosen), unknown, 0, True)
        if wanted is not None:
            items = lister.best(past, wanted, k)
            return Recommendations(items, unknown, lister.truncated(past), False)
        return lister.listed(past, unknown, lister.call.recommend(past), left_out, k)

    def recommend_batch(
        self, histories: Sequence[Sequence[object]], k: int = 10, *, strict: bool = False
    ) -> list[Recommendations]:
        """Recommend for several histories, which takes ``numpy`` a fraction of the time.

        Where a device reads some clusters of items, those of each user are read one after another.

        The lists are those of ``recommend``, except that items whose scores are equal but for
        rounding may change places.

        Args:
            histories: ids of past items, one list per user.
            k: the number of items, as for ``recommend``.
            strict: as for ``recommend``.

        Raises:
            OptionError: as for ``recommend``, or the model declares further inputs.
            DataError: ``strict``, and an id is not in the catalogue.
            TargetError: the runtime failed.
        """
        lister = self._open()
        check_count(k, self.signature.top_k)
        if own := [name for name in self.signature.inputs if name != "weights"]:
            raise OptionError(
                f"recommend_batch: takes histories alone, and the model reads {' and '.join(own)}; "
                "call recommend for each user"
            )
        pasts = [read_past(self.bundle, history, None, None, None) for history in histories]
        for place, (_, unknown) in enumerate(pasts):
            if unknown and strict:
                raise _unknown(f"histories[{place}]", unknown)
        found = iter(lister.call.recommend_batch([past for past, _ in pasts if past.rows]))
        return [
            lister.listed(past, unknown, next(found), past.seen, k)
            if past.rows
            else Recommendations(lister.unscored(k, lister.in_turn()), unknown, 0, True)
            for past, unknown in pasts
        ]

    def score(
        self,
        history: Sequence[object],
        items: Sequence[object],
        *,
        weights: Sequence[float | str] | None = None,
        user_vector: UserVector | None = None,
        context: Situation | None = None,
    ) -> list[float]:
        """Score given items for a history, seen ones included.

        Args:
            history: ids of past items, as for ``recommend``.
            items: ids of the items to score.
            weights: as for ``recommend``.
            user_vector: as for ``recommend``.
            context: as for ``recommend``.

        Raises:
            OptionError: as for ``recommend``, or the artefact has no function that scores items.
            DataError: an item is not in the catalogue.
            TargetError: the runtime failed.
        """
        lister = self._open()
        lister.check_scores("score")
        past, _ = read_past(self.bundle, history, weights, user_vector, context)
        ids = check_history(items, "items")
        rows = [self.bundle.items.find(item) for item in ids]
        if unknown := [str(item) for item, row in zip(ids, rows, strict=True) if row is None]:
            raise _unknown("items", unknown)
        return [float(score) for score in lister.call.score(past, np.array(rows, np.int32))]

    def user(
        self,
        history: Sequence[object],
        *,
        weights: Sequence[float | str] | None = None,
        user_vector: UserVector | None = None,
        context: Situation | None = None,
    ) -> F32:
        """The user vector float32[d] of a history, such as for a search of one's own.

        Args:
            history: ids of past items, as for ``recommend``.
            weights: as for ``recommend``.
            user_vector: as for ``recommend``.
            context: as for ``recommend``.

        Raises:
            OptionError: as for ``recommend``, or the bundle is of signature 1, without this output.
            TargetError: the runtime failed.
        """
        lister = self._open()
        past, _ = read_past(self.bundle, history, weights, user_vector, context)
        found = lister.call.recommend(past)
        if found.user is None:
            raise OptionError(
                f"{self.bundle.path}: signature 1 has no user vector; export the model again"
            )
        return found.user

    def similar(
        self,
        item: object,
        k: int = 10,
        *,
        user_vector: UserVector | None = None,
        context: Situation | None = None,
    ) -> Recommendations:
        """What is recommended to somebody whose only past item is this one.

        Args:
            item: the id of an item.
            k: the number of items.
            user_vector: as for ``recommend``.
            context: as for ``recommend``; by default, nothing is known.

        Raises:
            OptionError: as for ``recommend``.
            DataError: the item is not in the catalogue.
            TargetError: the runtime failed.
        """
        if context is None and self.bundle.context is not None:
            context = {}
        return self.recommend(
            [item], k, user_vector=user_vector, context=context, exclude=[item], strict=True
        )

    def _open(self) -> Lister:
        if self._lister is None:
            raise OptionError(f"{self.bundle.path}: the scorer is closed")
        return self._lister


def _unknown(name: str, ids: Sequence[str]) -> DataError:
    return DataError(f"{name}: unknown items {', '.join(ids[:10])}; {len(ids)} in total")
