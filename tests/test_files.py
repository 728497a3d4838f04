"""Files that are never half there, and locks that say who holds them."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hcflow_jax import cli
from hcflow_jax.errors import InputError
from hcflow_jax.files import HeldError, locked, replacing, write
from hcflow_jax.interop import release, state_dict

HOLDER = """
import subprocess, sys
from pathlib import Path
from hcflow_jax.files import locked
with locked(Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_a_reader_finds_the_old_file_until_the_new_one_is_whole(durable: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with replacing(file, durable=durable) as partial:
        partial.write_text("new")
        assert file.read_text() == "old" and partial.name.startswith(".a.txt.") and partial.parent == tmp_path
    assert names(tmp_path) == ["a.txt"] and file.read_text() == "new"


def test_what_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write(file, lambda stream: stream.write(b"old"))

    def fails(stream: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(file, fails)
    with pytest.raises(FileNotFoundError), replacing(file):
        pass  # nothing was written
    assert names(tmp_path) == ["a.txt"] and file.read_bytes() == b"old"


def test_a_directory(tmp_path: Path) -> None:
    with replacing(tmp_path / "made") as partial:
        partial.mkdir()
        (partial / "a").touch()
    assert names(tmp_path / "made") == ["a"]
    with pytest.raises(OSError, match="not empty"), replacing(tmp_path / "made") as partial:
        partial.mkdir()
        (partial / "b").touch()
    assert names(tmp_path) == ["made"] and names(tmp_path / "made") == ["a"]


def test_folders_are_made(tmp_path: Path) -> None:
    write(tmp_path / "some" / "where" / "a.txt", lambda stream: stream.write(b"x"))
    assert names(tmp_path / "some" / "where") == ["a.txt"]


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with locked(file) as held:
        assert held
        with pytest.raises(HeldError) as error, locked(file):
            pass
        assert error.value.holder == str(os.getpid())
    with locked(file, wait=True) as held:
        assert held


def test_the_lock_of_a_killed_process_is_free_and_its_children_do_not_hold_it(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(HeldError) as error, locked(file):
                pass
            assert error.value.holder == str(holder.pid)
            holder.kill()
            holder.wait()
            os.kill(child, 0)  # it lives
            with locked(file) as held:
                assert held and file.read_text() == f"{os.getpid()}\n"
        finally:
            os.kill(child, 9)
            holder.kill()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("wait", [False, True])
def test_a_file_system_without_locks_is_said(
    number: int, wait: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / "lock", wait=wait) as held:
        assert not held
    assert "locks do not work there (no locks)" in caplog.text


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "absent" / "lock"):
        pass


@pytest.mark.situation("a pipe where a file of latents, weights, features or images is expected")
def test_a_pipe_is_never_opened(tmp_path, capsys):
    """Opening one would wait for a writer for good."""
    os.mkfifo(pipe := tmp_path / "pipe.npz")
    for argv in (["decode", str(pipe), "--out", str(tmp_path / "out")], ["distance", str(pipe), str(pipe)]):
        assert cli.main(argv) == 2
        assert "pipe.npz: cannot be read" in capsys.readouterr().err
    for read in (state_dict.read, release.read):
        with pytest.raises((InputError, OSError), match="a named pipe, not a file"):
            read(pipe)
