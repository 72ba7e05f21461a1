"""The sampler: an Optuna study that decides which chains to try next, resumable and shared."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgerec.building.search.chains import Chain, Tried, key_of
from edgerec.building.search.trials import Search, try_chain
from edgerec.contracts.compressor import Progress
from edgerec.contracts.host import Host
from edgerec.errors import OptionError

if TYPE_CHECKING:
    import optuna

__all__ = ["digest_of", "open_study", "run_study", "search_spaces"]

_Spaces = Mapping[str, Mapping[str, tuple[Any, ...]]]

_STOP = "stop"  # in place of a compressor: the chain ends here

#: Without data, where no chain takes long, each of so many options of a compressor is tried alone.
_FEW = 8


def search_spaces(host: Host, *, learns: bool = True) -> dict[str, dict[str, tuple[Any, ...]]]:
    """The option values that each compressor offers to the search, by ``search_space``.

    Args:
        host: the plugins with the compressors.
        learns: whether there are interactions, without which those values that train are left out.

    Raises:
        OptionError: no compressor offers any.
    """
    spaces = {name: c.search_space() for name, c in sorted(host.compressors.items())}
    found = {name: dict(space) for name, space in spaces.items() if space is not None}
    if not learns:
        found = {
            name: {o: tuple(dict.fromkeys(chosen[o] for chosen in kept)) for o in space}
            for name, space in found.items()
            if (kept := [one for one in _choices(space) if not _trains(host, name, one)])
        }
    if not found:
        without = "" if learns else " that needs no interactions"
        raise OptionError(f"plan: no installed compressor offers a search space{without}")
    return found


def _choices(space: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Every combination of option values."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


@contextlib.contextmanager
def open_study(
    url: str, name: str, setting: Mapping[str, Any], *, shared: bool
) -> Iterator[optuna.Study]:
    """Open or create a study, and check that it belongs to the same search.

    Args:
        url: the storage.
        name: the name of the study in it.
        setting: what has to be the same when a search resumes.
        shared: whether other processes may be running trials of it now.
    """
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study, storage = _open(url, name)
    except Exception as error:  # a storage raises its own driver's errors
        optuna.logging.set_verbosity(verbosity)
        raise OptionError(f"plan.storage: cannot open a study there: {error}") from error
    try:
        ours = {part: digest_of(json.dumps(value).encode()) for part, value in setting.items()}
        theirs = study.user_attrs.get("edgerec", ours)
        if differ := [part for part in ours if ours[part] != theirs.get(part)]:
            raise OptionError(
                f"plan: study {name!r} was created with another {', '.join(differ)}; use the same "
                "values, or another folder"
            )
        if "edgerec" not in study.user_attrs:
            study.set_user_attr("edgerec", ours)
        if not shared:
            _abandon(study)
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()  # otherwise, the file stays open until it is garbage collected
        optuna.logging.set_verbosity(verbosity)


def _open(url: str, name: str) -> tuple[optuna.Study, optuna.storages.RDBStorage]:
    import optuna
    from sqlalchemy.exc import DBAPIError

    # Other processes wait while one writes to SQLite, and the default of five seconds may be short.
    waiting = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    tries = 3
    while True:
        try:
            storage = optuna.storages.RDBStorage(url, waiting)
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=["maximize", "minimize"],
                load_if_exists=True,
            )
            return study, storage
        except DBAPIError:
            # If several machines start at once, one creates the tables and the others fail.
            tries -= 1
            if not tries:
                raise
            time.sleep(1)


def run_study(
    study: optuna.Study,
    search: Search,
    spaces: _Spaces,
    max_steps: int,
    trials: int,
    seed: int,
    progress: Progress,
) -> list[Tried]:
    """Ask, run and tell until the study has enough different chains; return those."""
    import optuna

    states = optuna.trial.TrialState
    # The uncompressed model, and each compressor alone, whatever the sampler prefers. Those that
    # train come last.
    leading = {name: {o: v[0] for o, v in space.items()} for name, space in spaces.items()}
    names = sorted(spaces, key=lambda name: _trains(search.host, name, leading[name]))
    first: list[dict[str, Any]] = [
        {"step 1": name} | ({} if name == _STOP else {"step 2": _STOP}) for name in (_STOP, *names)
    ]
    if search.context.dataset is None:
        few = [(n, c) for n in names if len(c := _choices(spaces[n])) <= _FEW]
        first += [_parameters(((n, o),), spaces, max_steps) for n, c in few for o in c]
    chains = list(itertools.islice(_all_chains(spaces, max_steps), trials + 1))
    every = len(chains) if len(chains) <= trials else sys.maxsize
    if every <= trials:
        first += [_parameters(chain, spaces, max_steps) for chain in chains]
    while True:
        tried = _tried(study)
        known: dict[str, Tried] = {}
        for one in tried:
            known.setdefault(key_of(one.chain), one)
        ran = sum(not (one.skipped or one.too_large) for one in known.values())
        unknown = (states.FAIL, states.WAITING)
        total = sum(t.state not in unknown for t in study.get_trials(deepcopy=False))
        # A sampler may suggest the same chain again and again, or only chains that cannot fit.
        if ran >= trials or len(known) >= every or total >= 10 * trials + len(first):
            return list(known.values())
        progress(ran, trials, "searching")
        # Seeded per trial, so that a resumed search draws what an uninterrupted one would. After a
        # repetition, the next one is random, to escape it.
        repeated = bool(tried) and known[key_of(tried[-1].chain)] is not tried[-1]
        sampler = optuna.samplers.RandomSampler if repeated else optuna.samplers.TPESampler
        study.sampler = sampler(seed=seed + total)
        if total < len(first):
            study.enqueue_trial(first[total])
        trial = study.ask()
        try:
            chain = _ask_chain(trial, spaces, max_steps)
            one = known.get(key_of(chain)) or try_chain(
                trial.number, chain, search, rivals=list(known.values())
            )
            trial.set_user_attr("tried", json.dumps(asdict(one)))
            limit = search.device.budget.max_bundle_bytes
            excess = 0.0 if one.fits(limit) or one.bundle_bytes is None else one.bundle_bytes
            trial.set_constraint("bytes", excess / (limit or 1) - (1.0 if excess else 0.0))
            trial.set_constraint("works", 0.0 if one.reason is None or one.too_large else 1.0)
            if one.quality is None or one.bundle_bytes is None:
                study.tell(trial, state=states.PRUNED)
            else:
                study.tell(trial, [one.quality, float(one.bundle_bytes)])
        except BaseException:
            study.tell(trial, state=states.FAIL, skip_if_finished=True)
            raise


def _trains(host: Host, name: str, options: Mapping[str, Any]) -> bool:
    """Whether a compressor trains."""
    try:
        return host.compressor(name, **options).trains
    except Exception:  # noqa: BLE001  # a plugin may raise anything; its trial reports it
        return False


def _abandon(study: optuna.Study) -> None:
    """Give up trials of a process that was killed, so that they are drawn again."""
    import optuna

    states = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        study.tell(trial.number, state=states.FAIL)
    while study.get_trials(deepcopy=False, states=(states.WAITING,)):
        study.tell(study.ask(), state=states.FAIL)


def _ask_chain(trial: optuna.Trial, spaces: _Spaces, max_steps: int) -> Chain:
    """Let the sampler choose compressors, one after another, with their options."""
    chain: dict[str, Mapping[str, Any]] = {}
    for step in range(1, min(max_steps, len(spaces)) + 1):
        name = trial.suggest_categorical(f"step {step}", [*spaces, _STOP])
        if name == _STOP or name in chain:
            break
        chain[name] = {
            option: trial.suggest_categorical(f"{name}.{option}", values)
            for option, values in spaces[name].items()
        }
    return tuple(chain.items())


def _all_chains(spaces: _Spaces, max_steps: int) -> Iterator[Chain]:
    """Every chain that a study may contain."""
    for length in range(min(max_steps, len(spaces)) + 1):
        for names in itertools.permutations(spaces, length):
            yield from itertools.product(
                *([(name, chosen) for chosen in _choices(spaces[name])] for name in names)
            )


def _parameters(chain: Chain, spaces: _Spaces, max_steps: int) -> dict[str, Any]:
    """The parameters that a sampler would suggest for a chain, as ``_ask_chain`` reads them."""
    found: dict[str, Any] = {f"step {n}": name for n, (name, _) in enumerate(chain, 1)}
    found |= {f"{name}.{o}": value for name, options in chain for o, value in options.items()}
    if len(chain) < min(max_steps, len(spaces)):
        found[f"step {len(chain) + 1}"] = _STOP
    return found


def _tried(study: optuna.Study) -> list[Tried]:
    """The results of a study's trials, including those of other machines."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished() and "tried" in trial.user_attrs:
            values = json.loads(trial.user_attrs["tried"])
            chain = tuple((name, options) for name, options in values.pop("chain"))
            found.append(Tried(chain=chain, **values | {"number": trial.number}))
    return found


def digest_of(*parts: Any) -> str:
    """The SHA-256 of bytes and arrays, one after another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.tobytes())
    return digest.hexdigest()
