"""Trained models and runs in a bucket, used by the api and by commands; programs that are kept in one."""

import json
from pathlib import Path

import api_model
import jax
import numpy as np
import pytest
import training_fakes as fakes
from test_tracing import ARGS, Counted

from hcflow_jax import api, checkpoint
from hcflow_jax.analysis import histories
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.cli import command
from hcflow_jax.compiling import enable_compilation_cache
from hcflow_jax.interop import import_torch
from hcflow_jax.pictures import save_png
from hcflow_jax.tracing import traced_once
from hcflow_jax.training import loop

pytestmark = pytest.mark.full
MODEL = "gs://research/models/least"
OFFICIAL = Path(__file__).parent / "golden" / "ckpt_tiny_a" / "official_format.bin"


@pytest.fixture
def saved(gcs):
    """The small model's workdir in the bucket."""
    checkpoint.save_weights(MODEL, api_model.params(), api_model.config())
    return gcs


def _equal(model):
    jax.tree.map(np.testing.assert_array_equal, model.params, api_model.params())


def test_a_workdir_a_step_and_a_weights_file_are_loaded(saved, tmp_path):
    _equal(api.load(MODEL))
    _equal(api.load(f"{MODEL}/checkpoints/0"))
    content = api_model.save(tmp_path / "least.safetensors", sigma=0.5).read_bytes()
    saved.put("research", "models/least.safetensors", content)
    loaded = api.load("gs://research/models/least.safetensors")
    _equal(loaded)
    assert checkpoint.load("gs://research/models/least.safetensors").metadata["sigma"] == 0.5


def test_what_is_not_there_or_damaged_is_named(saved, tmp_path):
    with pytest.raises(CheckpointError, match="^gs://research/models/other: no such directory"):
        api.load("gs://research/models/other")
    with pytest.raises(CheckpointError, match="^gs://research/models: no checkpoints/ in it"):
        api.load("gs://research/models")
    saved.put("research", "models/cut.safetensors", api_model.save(tmp_path / "l.safetensors").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="^gs://research/models/cut.safetensors cannot be read as a weights"):
        api.load("gs://research/models/cut.safetensors")
    with pytest.raises(CheckpointError, match=f"^{MODEL} holds checkpoints, and is not overwritten"):
        checkpoint.save_weights(MODEL, api_model.params(), api_model.config())


def test_an_imported_checkpoint_may_go_to_a_bucket(gcs, tmp_path):
    for out in (str(tmp_path / "here"), "gs://research/there"):
        assert import_torch.main([str(OFFICIAL), "--out", out]) == 0
    here, there = checkpoint.load(tmp_path / "here"), checkpoint.load("gs://research/there")
    jax.tree.map(np.testing.assert_array_equal, here.arrays, there.arrays)


def test_commands_take_models_and_runs_there(saved, gcs, tmp_path, monkeypatch, capsys):
    fakes.install(monkeypatch.setattr)
    loop.train(fakes.config(tmp_path / "images"), "gs://research/run")
    run = histories.find("gs://research/run")
    assert run.name == "gs://research/run" and run.seeds[0].points["train/bits_per_dim"].step[-1] == 6
    monkeypatch.chdir(tmp_path)
    status = command.main(["sample", "--checkpoint", MODEL, "--count", "1", "--seed", "3", "--out", "sheet.png"])
    assert status == 0, capsys.readouterr().err
    assert (tmp_path / "sheet.png").exists()
    with gcs.failing(".", status=403):
        assert command.main(["sample", "--checkpoint", MODEL, "--out", "other.png"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {MODEL}: permission denied")


def test_a_report_is_written_there(gcs, tmp_path, capsys):
    config = api_model.config().copy_and_resolve_references()
    for i, image in enumerate(api_model.images(8)):
        save_png(tmp_path / "images" / f"{i}.png", image)
    with config.unlocked():
        config.data.update(dict(source="folder", path=str(tmp_path / "images"), eval_images=4))
        config.sample.count = 4
    checkpoint.save_weights(MODEL, api_model.params(), config)
    assert command.main(["report", "--workdir", MODEL]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert f"picture: {MODEL}/report/samples.png" in out and "/tmp" not in out
    names = [name.rpartition("/")[2] for name in gcs.names("research", "models/least/report/")]
    assert {"samples.png", "reconstructions.png", "zeroing.png"} < set(names)
    assert not [name for name in names if name.startswith(".")]


def test_the_sigma_that_was_tuned_is_stored_there(saved):
    from hcflow_jax.api import sampling_file
    from hcflow_jax.paths import place

    assert sampling_file.read(place(MODEL)) is None
    stored = sampling_file.write(place(MODEL), {"8": 0.5}, {"metric": "x"})
    assert str(stored) == f"{MODEL}/sampling.json" and sampling_file.read(place(MODEL)) == {"8": 0.5}
    assert json.loads(saved.content("research", "models/least/sampling.json"))["about"] == {"metric": "x"}


def test_compiled_and_traced_programs_are_kept_there(gcs, monkeypatch, tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "gs://research/xla/")
    try:
        assert str(enable_compilation_cache()) == "gs://research/xla"
        jax.clear_caches()
        jax._src.compilation_cache.reset_cache()  # pyright: ignore
        first, second = Counted(), Counted()
        traced_once(first, "f")(*ARGS)
        names = gcs.names("research", "xla/")
        assert sum("traced/" in name for name in names) == 1 and any("-cache" in name for name in names)
        traced_once(second, "f")(*ARGS)
        assert (first.times, second.times) == (1, 0)
        (name,) = gcs.names("research", "xla/traced/")
        gcs.put("research", name, b"rubbish")
        third = Counted()
        traced_once(third, "f")(*ARGS)
        assert third.times == 1
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        jax._src.compilation_cache.reset_cache()  # pyright: ignore
