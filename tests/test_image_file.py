"""`hcflow sample --npz`: images as one array, for other evaluators."""

from collections.abc import Callable
from pathlib import Path

import cli_fakes as fakes
import jax
import numpy as np
import pytest

from hcflow_jax import api
from hcflow_jax.cli import command
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import image_file, references

Command = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> fakes.Model:
    made = fakes.Model()
    monkeypatch.setattr(api, "load", lambda *_, **__: made)
    return made


@pytest.fixture
def sample(tmp_path: Path, model, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs the command in a folder of its own; gives its status and the lines that it printed."""
    monkeypatch.chdir(tmp_path)
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore

    def run(*arguments: object) -> tuple[int, list[str]]:
        return command.main(["sample", *map(str, arguments)]), capsys.readouterr().out.splitlines()

    yield run
    jax.config.update("jax_compilation_cache_dir", cache)


def test_the_array_is_what_the_model_samples(sample: Command, model: fakes.Model) -> None:
    arguments = ("--first", 5, "--count", 10, "--seed", 3, "--npz", "a/b.npz")
    status, out = sample(*arguments, "--out", "sheet.png", "--each", "c")
    assert (status, len(out)) == (0, 3) and out[1] == "a/b.npz: 10 images of 8 pixels"
    images = references.read("a/b.npz").images
    assert images is not None and images.dtype == np.uint8
    np.testing.assert_array_equal(images, model.sample(10, seed=3, first=5))
    np.testing.assert_array_equal(fakes.read(Path("sheet.png"))[:96:12, :96:12], images[0])
    assert len(list(Path("c").iterdir())) == 10
    whole = Path("a/b.npz").read_bytes()
    Path("sheet.png").unlink()
    sample(*arguments)
    assert Path("a/b.npz").read_bytes() == whole  # the same bytes at any time
    assert not Path("samples.png").exists()


@pytest.mark.situation("`hcflow sample --npz` stopped")
def test_a_stop_leaves_no_part_of_a_file(
    sample: Command, model: fakes.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample("--count", 2, "--npz", "a/old.npz")
    whole, calls = Path("a/old.npz").read_bytes(), iter(range(4))

    def stopped(*arguments, **options):
        if next(calls) % 2:
            raise KeyboardInterrupt
        return fakes.Model.sample(model, *arguments, **options)

    monkeypatch.setattr(model, "sample", stopped)
    for name in ("old.npz", "new.npz"):
        assert sample("--count", 10, "--npz", f"a/{name}")[0] == 130
    assert [path.name for path in Path("a").iterdir()] == ["old.npz"]
    assert Path("a/old.npz").read_bytes() == whole


def test_only_what_was_said_goes_in(tmp_path: Path) -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    wrong = [
        (images, 3, "2 images were given, not 3"),
        (images.astype("f"), 2, "float32"),
        (images[:, 1:], 2, "7, 8"),
    ]
    for given, count, said in wrong:
        with pytest.raises(InputError, match=said), image_file.streamed(tmp_path / "a.npz", count, 8) as add:
            add(given)
    assert not list(tmp_path.iterdir())


def test_names_that_are_refused(sample: Command, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.npz").mkdir()
    assert sample("--npz", "a.npy")[0] == sample("--npz", "folder.npz")[0] == 2
    assert not Path("a.npy").exists()
