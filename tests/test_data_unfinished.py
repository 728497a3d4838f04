"""What is unfinished of one set is never another's to remove, whatever the sets are called."""

import shutil

import pytest
from odd_names import ODD
from prepare_runs import beside, files, make_pictures, run_prepare

from hcflow_jax.data import preparation, prepare, unfinished

pictures = pytest.fixture(make_pictures)


def _stopped(pictures, out, monkeypatch) -> None:
    """A preparation that ends with its first shard done."""
    with monkeypatch.context() as patched:
        patched.setattr(preparation, "_publish", lambda plan: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run_prepare(pictures, out) == 130
    assert [path.name for path in unfinished.all_of(out)] and not out.exists()


def _content(directory) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.situation("two sets in one folder, where the name of one begins with the name of the other")
@pytest.mark.parametrize(
    "other", ["mine.train", "mine.0123456789ab", "mine.listing", "mine.", "m*", "[a-z]ine", "mine"]
)
def test_another_sets_work_is_not_touched(pictures, tmp_path, monkeypatch, other):
    folder = tmp_path / ("elsewhere" if other == "mine" else "sets")
    folder.mkdir()
    _stopped(pictures, folder / other, monkeypatch)
    (left,) = unfinished.all_of(folder / other)
    before = _content(left)
    out = tmp_path / "sets" / "mine"
    for _ in range(2):  # the second time it is there already
        assert run_prepare(pictures, out, resolution=4) == 0
    assert _content(left) == before
    assert run_prepare(pictures, folder / other) == 0
    assert not left.exists()


def test_names_that_are_patterns_match_no_other(pictures, tmp_path, monkeypatch):
    _stopped(pictures, tmp_path / "mine", monkeypatch)
    (left,) = unfinished.all_of(tmp_path / "mine")
    for name in ("*", "m?ne", "[m]ine", "m*"):
        assert run_prepare(pictures, tmp_path / name, resolution=4) == 0
        assert left.is_dir() and files(tmp_path / name)


@pytest.mark.situation("an unfinished set without the marker that says which set it belongs to")
def test_without_a_marker_nothing_is_removed(pictures, tmp_path, monkeypatch):
    foreign = tmp_path / ".out.0123456789ab.partial"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("precious")
    link = tmp_path / ".out.00112233aabb.partial"
    _stopped(pictures, tmp_path / "other", monkeypatch)
    (left,) = unfinished.all_of(tmp_path / "other")
    shutil.copytree(left, tmp_path / ".out.ba9876543210.partial")  # it says that it is of `other`
    link.symlink_to(left)
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert len(beside(tmp_path / "out")) == 3 and (foreign / "thesis.tex").read_text() == "precious" and left.is_dir()


@pytest.mark.situation("a set on a file system without locks")
def test_without_a_lock_nothing_is_removed(pictures, tmp_path, monkeypatch):
    _stopped(pictures, tmp_path / "out", monkeypatch)
    (left,) = unfinished.all_of(tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(preparation, "plan", lambda *a, plan=preparation.plan: plan(*a[:3], held=False))
        assert run_prepare(pictures, tmp_path / "out", resolution=4) == 0
        assert left.is_dir()
    shutil.rmtree(tmp_path / "out")
    assert run_prepare(pictures, tmp_path / "out", resolution=4) == 0
    assert not left.exists()


def test_work_of_an_earlier_version_goes_on(pictures, tmp_path, monkeypatch):
    _stopped(pictures, tmp_path / "out", monkeypatch)
    (left,) = unfinished.all_of(tmp_path / "out")
    (left / unfinished.MARKER).unlink()
    made = min((left / "set").iterdir())
    stamp = made.stat().st_mtime_ns
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert (tmp_path / "out" / made.name).stat().st_mtime_ns == stamp
    assert not beside(tmp_path / "out")


@pytest.mark.situation("a set, or a picture of it, whose name has a line break, quotes, or 255 bytes")
@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_set_of_any_name_is_prepared_and_read(pictures, tmp_path, monkeypatch, name, capfd):
    source = tmp_path / "from" / name
    source.mkdir(parents=True)
    for i, picture in enumerate(sorted(pictures.iterdir())[:9]):
        shutil.copy(picture, source / (f"{name}.png" if i == 0 and len(name) < 200 else picture.name))
    (source / f"{name[:200]}-none.png").write_bytes(b"no picture")
    out = tmp_path / "sets" / name
    _stopped(source, out, monkeypatch)
    assert run_prepare(source, out) == 0
    assert [path.name for path in out.parent.iterdir()] == [name]
    assert prepare.main(["--check", str(out)]) == 0
    assert "9 images of 8 pixels" in capfd.readouterr().out


@pytest.mark.full
def test_processes_take_any_name(pictures, tmp_path):
    source, out = tmp_path / ODD[7], tmp_path / f"set {ODD[7]}"
    pictures.rename(source)
    assert run_prepare(source, out, processes=2) == 0 and files(out)
