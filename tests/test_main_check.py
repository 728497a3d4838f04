"""`--mode=check`: it says what a run would be, finds what would end it, and leaves nothing behind."""

import re
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import training_fakes as fakes
from test_main import command

from hcflow_jax import checkpoint
from hcflow_jax.config import presets
from hcflow_jax.training import check

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections' own
__all__ = ["command"]


def everything(folder: Path) -> list[Any]:
    """Every file below a folder, with its bytes."""
    return [(path, path.read_bytes() if path.is_file() else None) for path in sorted(folder.rglob("*"))]


def test_it_says_what_a_run_would_be_and_writes_nothing(command, tmp_path):
    command("--mode=check")  # makes the images
    before = everything(tmp_path)
    status, out, err = command("--mode=check", "--config.train.batch_size=8", "--config.eval.batch_size=16")
    assert (status, err) == (0, [])
    assert "config.train.batch_size = 8" in out and "config.data.source = 'folder'" in out
    assert "parameters: 15 (encoder 3, decoder 3, flows 9)" in out
    assert "latents, coarse to fine: prior 1, 8 8x8x3" in out
    assert any(
        re.match(r"training images: 24 of .*images.*, the first with digest [0-9a-f]{16}$", line) for line in out
    )
    assert any(line.startswith("held-out images: 4 of ") for line in out)
    assert f"workdir: {tmp_path / 'run'} has no checkpoint; the run would start with fresh parameters" in out
    assert "steps: 6 of 8 images, which see each training image 2.0 times" in out
    assert "epochs: 2.0 of 24 images each (train.images_per_epoch)" in out
    assert f"devices: these batches can be split over 1, 2; here {jax.device_count()}" in out
    assert out[-1] == "nothing in this config would be refused on this machine"
    assert everything(tmp_path) == before


def test_it_says_from_which_steps_on_little_is_learned(command):
    short = ["--config.train.images_per_epoch=4", "--config.train.freeze_epoch=9", "--config.train.decay_after=0"]
    given = ["--config.train.num_steps=500", *short, "--config.train.decay.flows=0.1"]
    status, out, _ = command("--mode=check", *given)
    assert status == 0 and "epochs: 500.0 of 4 images each (train.images_per_epoch)" in out
    assert "  from step 9 on, the group encoder does not learn (train.freeze_epoch)" in out
    assert "  from step 4 on, the learning rate of flows is at most 1 % of the first (train.decay)" in out
    assert not any("of encoder is at most" in line for line in out)


class Other(fakes.Model):
    """A model with one larger parameter."""

    def create(self, key: Any) -> Any:
        return super().create(key) | {"style": {"layer": {"bias": jnp.zeros(5, jnp.float32)}}}


def test_a_run_that_would_resume(command, tmp_path, monkeypatch):
    assert command("--config.train.num_steps=3")[0] == 0
    before = everything(tmp_path)
    status, out, _ = command("--mode=check", "--config.train.num_steps=9", "--config.train.log_every=2")
    assert status == 0 and f"workdir: {tmp_path / 'run'} has step 3, and the run would resume there" in out
    assert "  a field changed since it was saved: train.log_every: 1 -> 2" in out
    assert "steps: 6 of 4 images, which see each training image 1.0 times" in out
    refused = ["--mode=check", "--config.train.num_steps=9", "--config.train.clip_norm=7.0"]
    status, _, [line] = command(*refused)
    assert status == 2 and "train.clip_norm: 50.0 -> 7.0" in line
    assert command(*refused, "--allow_config_change")[0] == 0
    status, _, [line] = command("--mode=check", "--config.train.num_steps=2")
    assert status == 2 and "train.num_steps is 2, but the newest checkpoint" in line
    assert command("--mode=check", "--config.train.init_images=99", "--allow_config_change")[0] == 0  # none is read
    fakes.install(monkeypatch.setattr, Other)
    status, _, [line] = command("--mode=check", "--allow_config_change")
    assert status == 2 and re.search(r"belongs to another model: \S*layer/bias is \(3,\) there and \(5,\)", line)
    assert everything(tmp_path) == before


def test_a_workdir_of_weights_starts_a_run_but_does_not_resume(command, tmp_path):
    """A run that starts from weights does not read the images that would initialise a model."""
    command("--mode=check")  # makes the images
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    assert command("--mode=check")[0] == 0  # no step was saved yet
    shutil.rmtree(run)
    checkpoint.save_weights(run, {"w": np.zeros(3, "f")}, fakes.config(tmp_path / "images"))
    before = everything(tmp_path)
    status, _, [line] = command("--mode=check")
    assert status == 2 and "contains only weights, without a training state to resume from" in line
    given = ["--mode=check", f"--config.train.init_from={run}", "--config.train.init_images=99"]
    portraits = ["--config.data.source=portraits", "--config.data.train_images=40", "--config.data.path=cache"]
    for more in ([], portraits):
        status, out, err = command(*given, *more, workdir=tmp_path / "other")
        assert (status, err) == (0, []) and out[-1].startswith("nothing in this config would be refused")
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.train.batch_size=6"], "train.batch_size=6 must be a multiple of 4"),
        (["--config.train.init_images=99"], "train.init_images is 99: expected 1 to the 24 images"),
        (["--config.data.path=/no/such/folder"], "/no/such/folder"),
        (["--config.data.eval_images=28"], "data.eval_images"),
        (["--config.eval.metrics=fad"], "eval.metrics"),
        (["--config.eval.metrics=fid", "--config.train.measure_every=2", "--config.eval.weights=no.pt"], "no.pt"),
        (["--config.train.init_from=nothing"], "train.init_from"),
        (["--profile=3"], "--profile=3: expected FIRST:LAST"),
        (["--profile=7:9"], "--profile"),
        (["--workdir={folder}/tiny.py/run"], "tiny.py/run cannot be written"),
    ],
)
def test_what_would_be_refused_later_is_refused_now(command, tmp_path, arguments, message):
    status, _, err = command("--mode=check", *[argument.format(folder=tmp_path) for argument in arguments])
    assert status == 2 and len(err) == 1 and message in err[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.full  # needs the extra `s3`
def test_a_run_in_a_bucket_of_s3_cannot_be_started_from(command):
    status, _, err = command("--mode=check", "--config.train.init_from=s3://research/run")
    assert status == 2 and len(err) == 1
    assert "train.init_from: s3://research/run: s3:// does not work" in err[0]


def test_illustrations_that_are_not_made_yet_are_not_made(command, tmp_path):
    given = ["--config.data.source=portraits", "--config.data.train_images=40", "--config.data.eval_images=4"]
    status, out, err = command("--mode=check", *given, f"--config.data.path={tmp_path / 'cache'}")
    assert (status, err) == (0, []) and not (tmp_path / "cache").exists()
    folder = tmp_path / "cache" / "toon-head-8px-train-40"
    assert f"training images: 40 illustrations, which the run would make in {folder}" in out
    assert "steps: 6 of 4 images, which see each training image 0.6 times" in out
    status, _, [line] = command("--mode=check", *given, f"--config.data.path={tmp_path / 'tiny.py'}")
    assert status == 2 and "tiny.py: the cache cannot be written" in line and line.endswith("set data.path")
    status, _, [line] = command("--mode=check", *given, "--config.train.init_images=44")
    assert status == 2 and "train.init_images is 44: expected 1 to the 40 images" in line


def test_what_training_needs_is_needed(command):
    status, _, [line] = command("--mode=check", config=None)
    assert status == 2 and "--config is missing" in line


@pytest.mark.slow
def test_the_activations_of_a_real_model():
    small, large = (check._size(check.activations(presets.config("demo"), count)) for count in (4, 8))
    parameters = check._size(check.activations(presets.config("demo"), 4)) - (large - small)
    assert 0.5e6 < (large - small) / 4 < 20e6  # bytes of an image
    assert parameters > 0
