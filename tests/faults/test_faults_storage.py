"""Storage that fails a run: damaged checkpoints, a full disk, a compilation cache of rubbish."""

import os

import pytest
import runs

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def untouched(folder):
    status, _, err = runs.finish(folder / "untouched", "num_steps=8")
    assert status == 0, err
    return folder / "untouched"


def _cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def _flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def test_damaged_checkpoints_are_named_and_the_one_before_is_used(untouched, folder):
    """Lost each time: the steps since the checkpoint before, taken again. At the end: nothing."""
    workdir = folder / "damaged"
    assert runs.finish(workdir, "num_steps=8")[0] == 0
    for damage, said in ((_cut, "bytes"), (_flip, "is damaged"), (os.unlink, "is missing")):
        assert runs.steps(workdir) == [6, 8]
        state = workdir / "checkpoints" / "8" / "state"
        file = max((f for f in state.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
        damage(file)
        status, out, err = runs.finish(workdir, "num_steps=8", NO_START="")
        assert status == 0, err
        assert "resuming at step 6" in out
        named = [line for line in err.splitlines() if str(file) in line]
        assert len(named) == 1 and said in named[0]
        runs.assert_same(workdir, untouched)
    assert len(list((workdir / "unreadable").iterdir())) == 3


def test_a_disk_that_is_full_for_a_while(untouched, folder):
    """Lost: nothing. The save that met it is missing, is said in a line, and the next one works."""
    workdir = folder / "full"
    status, _, err = runs.finish(workdir, "disk full", 4, "num_steps=8")
    assert status == 0, err
    said = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and f"{workdir}/checkpoints/4 could not be saved: check its disk" in said[0]
    assert "Traceback" not in err
    assert runs.steps(workdir) == [6, 8]
    runs.assert_same(workdir, untouched)


def test_a_disk_that_stays_full_ends_the_run_with_the_error(untouched, folder):
    """Lost: the steps since the last save that worked, taken again."""
    workdir = folder / "stays"
    status, _, err = runs.finish(workdir, "disk full", 8, "num_steps=8")
    assert status != 0 and f"{workdir}/checkpoints/8 could not be saved" in err
    assert runs.steps(workdir) == [4, 6]
    assert runs.finish(workdir, "num_steps=8", NO_START="")[0] == 0
    runs.assert_same(workdir, untouched)


def test_a_compilation_cache_of_rubbish_is_a_warning(untouched, folder):
    """Lost: the time to compile."""
    cache = folder / "cache"
    cache.mkdir()
    assert runs.finish(folder / "first", "num_steps=8", JAX_COMPILATION_CACHE_DIR=str(cache))[0] == 0
    programs = sorted(cache.glob("*-cache"))
    assert programs
    for i, file in enumerate(programs):
        (_cut, _flip)[i % 2](file)
    status, _, err = runs.finish(folder / "second", "num_steps=8", JAX_COMPILATION_CACHE_DIR=str(cache))
    assert status == 0, err
    assert "Error reading persistent compilation cache entry" in err
    runs.assert_same(folder / "second", untouched)
