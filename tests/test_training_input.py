"""Training and its images: resumed at the next one, never on others, and ended by a message where they fail."""

import json
import os
import shutil
import signal
import threading

import jax
import numpy as np
import pytest
import training_fakes as fakes

from hcflow_jax import checkpoint
from hcflow_jax.data import DataError, folder
from hcflow_jax.data.pipeline import train_batches
from hcflow_jax.training import loop, resumption

TRAINED = 24  # images that `fakes.config` trains on: six batches of four are an epoch


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    fakes.install(monkeypatch.setattr)


@pytest.fixture
def indices(monkeypatch):
    """Which images were handed to the device, in order."""
    seen: list[int] = []

    def recording(config, start, *, place, **how):
        batches = train_batches(config, start, place=lambda batch: (batch["indices"], place(batch)), **how)

        class Recording:
            close = batches.close

            def __next__(self):
                taken, placed = next(batches)
                seen.extend(taken.tolist())
                return placed

        return Recording()

    monkeypatch.setattr(loop.pipeline, "train_batches", recording)
    return seen


def _order(config, count: int) -> list[int]:
    batches = train_batches(config)
    order = np.concatenate([next(batches)["indices"] for _ in range(-(-count // config.train.batch_size))])
    batches.close()
    return order[:count].tolist()


def _train(config, directory, **train):
    config = config.copy_and_resolve_references()
    config.train.update(train)
    return loop.train(config, directory, allow_config_change="batch_size" in train)


def _metadata(directory):
    return checkpoint.load(directory).metadata


@pytest.mark.parametrize("first", [4, 6], ids=["amid an epoch", "at its end"])
def test_a_resumed_run_goes_on_with_the_next_image(tmp_path, indices, first):
    config = fakes.config(tmp_path / "images", eval_every=0)
    _train(config, tmp_path / "run", num_steps=first)
    assert _metadata(tmp_path / "run")["next_index"] == 4 * first
    _train(config, tmp_path / "run", num_steps=10)
    assert indices == _order(config, 40)
    assert all(sorted(indices[i : i + TRAINED]) == list(range(TRAINED)) for i in range(0, 40 - TRAINED, TRAINED))


@pytest.mark.slow
def test_another_batch_size_goes_on_with_the_next_image_and_epoch(tmp_path, indices):
    config = fakes.config(tmp_path / "images", eval_every=0, images_per_epoch=12, decay_after=0)
    _train(config, tmp_path / "run", num_steps=3)
    _train(config, tmp_path / "run", num_steps=5, batch_size=8)
    result = _train(config, tmp_path / "run", num_steps=7, batch_size=4)
    assert indices == _order(config, 3 * 4 + 2 * 8 + 2 * 4)
    assert result["images"] == _metadata(tmp_path / "run")["next_index"] == 36
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    rates = [row["rate/flows"] for row in rows if row["kind"] == "train"]
    # 20 images were used before the fifth step, 28 before the sixth; from 24 on it is epoch 2.
    assert rates == pytest.approx([5e-3] * 5 + [5e-3 * 0.95] * 2, rel=1e-6)


@pytest.mark.slow
def test_other_images_are_refused_unless_they_are_wanted(tmp_path, capsys):
    config = fakes.config(tmp_path / "images", eval_every=0)
    _train(config, tmp_path / "run", num_steps=1)
    shutil.copy(tmp_path / "images" / "00.png", tmp_path / "images" / "zz.png")
    named = r"data\.path: .*\(24 images\).* \(25 images\).*data\.allow_other_images"
    with pytest.raises(DataError, match=named) as error:
        _train(config, tmp_path / "run", num_steps=2)
    assert "\n" not in str(error.value)
    config.data.allow_other_images = True
    capsys.readouterr()
    _train(config, tmp_path / "run", num_steps=2)
    assert capsys.readouterr().out.count("the training images differ from those when it was saved") == 1
    config.data.allow_other_images = False
    _train(config, tmp_path / "run", num_steps=3)
    assert _metadata(tmp_path / "run")["data"]["count"] == 25


@pytest.mark.slow
def test_the_same_images_elsewhere_are_the_same(tmp_path):
    config = fakes.config(tmp_path / "images", eval_every=0)
    _train(config, tmp_path / "run", num_steps=1)
    (tmp_path / "images").rename(tmp_path / "moved")
    config.data.path = str(tmp_path / "moved")
    _train(config, tmp_path / "run", num_steps=2)
    assert _metadata(tmp_path / "run")["data"]["name"].endswith("moved (train)")


def test_a_checkpoint_without_an_entry_is_resumed(tmp_path):
    data = fakes.config(tmp_path / "images").data
    assert resumption.check_images(None, folder.open_folder(data, "train"), data) is None


def test_a_folder_that_disappears_ends_the_run_saved(tmp_path, monkeypatch, indices, capsys):
    images = tmp_path / "images"
    config = fakes.config(images, num_steps=200, checkpoint_every=1000, eval_every=0)
    train = loop.Reporter.train

    def lose(self, step, metrics):
        train(self, step, metrics)
        if step == 4:
            images.rename(tmp_path / "gone")

    monkeypatch.setattr(loop.Reporter, "train", lose)
    with pytest.raises(DataError, match=rf"{images}/\d+\.png: cannot be read \(No such file or directory\)"):
        loop.train(config, tmp_path / "run")
    saved = checkpoint.load(tmp_path / "run")
    assert saved.metadata["data"]["probe"]["pixels"]  # read before the folder disappeared
    assert saved.step >= 5 and f"saved step {saved.step};" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == saved.step
    assert not any(thread.name.startswith("images ahead") for thread in threading.enumerate())

    (tmp_path / "gone").rename(images)
    _train(config, tmp_path / "run", num_steps=saved.step + 3)
    assert indices == _order(config, 4 * (saved.step + 3))


@pytest.fixture
def hanging(monkeypatch):
    """Set once a read hangs, as all do after the 42nd until the test is over; some steps need fewer."""
    free, hangs, reads = threading.Event(), threading.Event(), []
    read = folder.Folder.read

    def hang(self, name):
        reads.append(name)
        if len(reads) > 42:
            hangs.set()
            free.wait()
        return read(self, name)

    monkeypatch.setattr(folder.Folder, "read", hang)
    monkeypatch.setattr("hcflow_jax.data.prefetch.GRACE", 0.1)
    yield hangs
    free.set()


def test_storage_that_does_not_answer_ends_the_run_saved(tmp_path, hanging):
    config = fakes.config(tmp_path / "images", num_steps=200, checkpoint_every=1000, eval_every=0)
    config.data.read_timeout = 2.0
    with pytest.raises(DataError, match=r"no images came for 2 s \(data\.read_timeout\)"):
        loop.train(config, tmp_path / "run")
    assert hanging.is_set() and checkpoint.load(tmp_path / "run").step > 0


def test_sigterm_ends_the_wait_for_images(tmp_path, hanging, monkeypatch):
    config = fakes.config(tmp_path / "images", num_steps=200, checkpoint_every=1000, eval_every=0)
    looks = []
    check = loop.Termination.check

    def interrupt(self):
        if hanging.is_set():
            looks.append(1)
            if len(looks) == 20:  # what could still be handed over has been
                os.kill(os.getpid(), signal.SIGTERM)
        check(self)

    monkeypatch.setattr(loop.Termination, "check", interrupt)
    with pytest.raises(SystemExit) as exit_:
        loop.train(config, tmp_path / "run")
    assert exit_.value.code == 143
    assert checkpoint.load(tmp_path / "run").step > 0


def test_images_come_to_the_step_placed(tmp_path, monkeypatch):
    placed = []
    call = loop.Programs.__call__

    def look(self, name, jitted, *args, **how):
        if name == "the training step":
            placed.append(args[1])
        return call(self, name, jitted, *args, **how)

    monkeypatch.setattr(loop.Programs, "__call__", look)
    _train(fakes.config(tmp_path / "images", eval_every=0), tmp_path / "run", num_steps=2)
    assert len(placed) == 2
    for images in placed:
        assert isinstance(images, jax.Array) and images.dtype == np.uint8 and images.shape == (4, 8, 8, 3)
        assert images.sharding.spec == jax.sharding.PartitionSpec("batch")  # pyright: ignore
