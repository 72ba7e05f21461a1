"""Drafts and atomic writes: nothing half-written, and nothing left over, even if killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgerec.files.atomic import atomic_write, write_text
from edgerec.files.staging import staging


def in_another_process(code: str, folder: Path) -> int:
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    return done.returncode


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something becomes true within a few seconds."""
    return any(holds() or time.sleep(0.02) for _ in range(500))


def test_drafts_move_into_place_together(tmp_path: Path) -> None:
    with staging(tmp_path) as drafts:
        moves = {drafts.folder / name: tmp_path / name for name in ("a", "b")}
        for draft in moves:
            draft.write_text(draft.name)
        assert not (tmp_path / "a").exists()
        drafts.move(moves)
        assert (tmp_path / "a").read_text() == "a"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_move_keeps_permissions(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("secret")
    (tmp_path / "a").chmod(0o600)
    with staging(tmp_path) as drafts:
        for name in ("a", "b"):
            (drafts.folder / name).write_text("new")
        drafts.move({drafts.folder / name: tmp_path / name for name in ("a", "b")})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"a": 0o600, "b": 0o666 & ~current_umask()}


def test_a_move_that_fails(tmp_path: Path) -> None:
    with staging(tmp_path) as drafts, pytest.raises(FileNotFoundError) as caught:
        drafts.move({drafts.folder / "none": tmp_path / "a"})
    assert str(caught.value.filename).endswith("/none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_no_drafts(number: signal.Signals, tmp_path: Path) -> None:
    code = f"""if True:
        import os, sys
        from edgerec.files.staging import staging
        with staging(sys.argv[1]) as drafts:
            (drafts.folder / "x").write_text("half")
            os.kill(os.getpid(), {int(number)})
    """
    assert in_another_process(code, tmp_path) == -number
    assert eventually(lambda: list(tmp_path.iterdir()) == [])


def test_a_process_killed_after_it_asked_for_a_move(tmp_path: Path) -> None:
    names = [str(n) for n in range(200)]
    for name in names:
        (tmp_path / name).write_text("old")
    code = """if True:
        import os, sys
        from pathlib import Path
        from edgerec.files.staging import staging
        folder = Path(sys.argv[1])
        with staging(folder) as drafts:
            moves = {drafts.folder / str(n): folder / str(n) for n in range(200)}
            for draft in moves:
                draft.write_text("new")
            drafts._keeper.stdout.readline = lambda: os.kill(os.getpid(), 9)
            drafts.move(moves)
    """
    assert in_another_process(code, tmp_path) == -signal.SIGKILL
    assert eventually(lambda: all((tmp_path / name).read_text() == "new" for name in names))
    assert eventually(lambda: len(list(tmp_path.iterdir())) == 200)


def test_a_killed_write_leaves_nothing(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "old")
    code = """if True:
        import os, sys
        from pathlib import Path
        from edgerec.files.atomic import atomic_write
        with atomic_write(Path(sys.argv[1]) / "x") as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), 9)
    """
    assert in_another_process(code, tmp_path) == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_permissions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_text(path, "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~current_umask()
    path.chmod(0o600)
    write_text(path, "another")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "another"


def current_umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_the_umask_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("it is the whole process's"))
    write_text(tmp_path / "x", "text")


def test_where_files_need_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerec.files.atomic._UNNAMED", 0)
    write_text(tmp_path / "x", "old")
    with pytest.raises(TypeError), atomic_write(tmp_path / "x") as file:
        file.write("half")  # type: ignore[arg-type]  # the mistake
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"
    write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "new"


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: .*wanted"):  # noqa: SIM117  # the second one raises
        with atomic_write(tmp_path / "wanted"):
            raise OSError(28, "No space left on device")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_text(tmp_path / "file" / "x", "")


def test_threads_may_write_the_same_file(tmp_path: Path) -> None:
    texts = [str(n) * 10000 for n in range(8)]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "x", t)) for t in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_text() in texts
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
