"""A run whose workdir is in a bucket: the same numbers, the same files, and what happens when the store fails."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import training_fakes as fakes
from gcs_server import remote

from hcflow_jax import checkpoint, main
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.training import evaluate, lease, loop

pytestmark = pytest.mark.full
RUN = "gs://research/runs/a"
PARTS = ("step", "params", "opt_state", "ema")
CLOCKED = ("seconds", "input_wait", "images_per_second", "images_per_second_per_device", "peak_memory")


@pytest.fixture(autouse=True)
def model(monkeypatch):
    fakes.install(monkeypatch.setattr)


def _rows(text):
    rows = [json.loads(line) for line in text.splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCKED} for row in rows]


def _same(one, other):
    one, other = (checkpoint.load(workdir, PARTS) for workdir in (one, other))
    assert (one.step, one.metadata["next_index"]) == (other.step, other.metadata["next_index"])
    jax.tree.map(np.testing.assert_array_equal, one.arrays, other.arrays)


def test_it_resumes_and_gives_what_a_folder_gives(gcs, tmp_path, capsys):
    config = fakes.config(tmp_path / "images", num_steps=4, sample_every=2)
    loop.train(config, RUN)
    config.train.num_steps = 8
    made = loop.train(config, RUN)
    assert made["resumed_from"] == 4
    out = capsys.readouterr().out
    assert "resuming at step 4" in out and f"done: {RUN}/result.json" in out and "/tmp" not in out
    for steps in (4, 8):
        config.train.num_steps = steps
        loop.train(config, tmp_path / "run")
    _same(RUN, tmp_path / "run")
    history = gcs.content("research", "runs/a/history.jsonl").decode()
    assert _rows(history) == _rows((tmp_path / "run" / "history.jsonl").read_text())
    names = set(gcs.names("research", "runs/a/"))
    local = {str(file.relative_to(tmp_path / "run")) for file in (tmp_path / "run").rglob("*") if file.is_file()}
    small = {name for name in local if not name.startswith((".", "checkpoints", "tensorboard"))}
    assert small == {
        name.removeprefix("runs/a/") for name in names if not name.startswith(("runs/a/checkpoints", "runs/a/tensor"))
    }
    assert sum("tfevents" in name for name in names) == 2
    for step in (3, 4, 6, 8):
        sealed = f"runs/a/checkpoints/{step}/seal.json" in names
        assert sealed == (tmp_path / "run" / "checkpoints" / str(step)).exists()


def test_it_is_evaluated_there(gcs, tmp_path, capsys):
    config = fakes.config(tmp_path / "images", num_steps=2)
    loop.train(config, RUN)
    result = evaluate.evaluate(RUN)
    assert json.loads(gcs.content("research", "runs/a/eval.json")) == result and result["step"] == 2
    assert gcs.names("research", "runs/a/lease.json") == []


def test_a_second_run_is_refused_while_the_first_one_trains(gcs, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    with (
        lease.Lease(remote(RUN)),
        pytest.raises(lease.LeaseError, match=f"^{RUN}: process .* is training in it; stop it, or name another"),
    ):
        loop.train(fakes.config(tmp_path / "images"), RUN)
    assert not [name for name in gcs.names("research") if "checkpoints" in name]


def test_a_run_that_lost_its_workdir_writes_nothing_more(gcs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    config = fakes.config(tmp_path / "images", num_steps=400, checkpoint_every=1, eval_every=0, log_every=1)
    inner = loop._Run.save

    def save(run, step):
        if step == 3:
            gcs.put("research", "runs/a/lease.json", b'{"host": "new", "process": 8}')
        inner(run, step)

    monkeypatch.setattr(loop._Run, "save", save)
    with pytest.raises(lease.LeaseError, match="process 8 of new holds it now; nothing more is written"):
        loop.train(config, RUN)
    assert gcs.content("research", "runs/a/lease.json") == b'{"host": "new", "process": 8}'
    assert "kept in" in capsys.readouterr().err


def test_a_store_that_fails_for_a_while_loses_nothing(gcs, tmp_path, capsys):
    config = fakes.config(tmp_path / "images", num_steps=6)
    loop.train(config, tmp_path / "run")
    with (
        gcs.failing("checkpoints/3", status=503, times=4) as saving,
        gcs.failing("history", status=503, times=2) as copying,
        gcs.failing("lease", status=503, times=2) as beginning,
    ):
        loop.train(config, RUN)
    assert saving.seen > 4 and copying.seen > 2 and beginning.seen > 2
    _same(RUN, tmp_path / "run")


def test_a_save_that_fails_halfway_leaves_the_older_one_the_newest(gcs, tmp_path, capsys):
    config = fakes.config(tmp_path / "images", num_steps=6)
    with (
        gcs.failing(r"^POST /upload.*checkpoints/6/state/.*manifest", status=403),
        pytest.raises(CheckpointError, match=f"^{RUN}/checkpoints/6 could not be saved.*permission denied"),
    ):
        loop.train(config, RUN)
    assert checkpoint.load(RUN).step == 3
    loop.train(config, RUN)
    assert "resuming at step 3" in capsys.readouterr().out
    assert checkpoint.load(RUN).step == 6
    loop.train(config, tmp_path / "run")
    _same(RUN, tmp_path / "run")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pytest's own hook comes first
def test_a_failed_save_amid_the_run_is_said_and_the_next_one_works(gcs, tmp_path, capsys):
    with gcs.failing(r"^POST /upload.*checkpoints/3/", status=403):
        loop.train(fakes.config(tmp_path / "images", num_steps=6), RUN)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and f"{RUN}/checkpoints/3 could not be saved: the next save tries again" in said[0]
    assert checkpoint.load(RUN).step == 6


def test_a_damaged_object_is_named_and_the_step_before_is_used(gcs, tmp_path, capsys, caplog):
    config = fakes.config(tmp_path / "images", num_steps=6)
    loop.train(config, RUN)
    name = next(name for name in gcs.names("research") if "checkpoints/6/state/d/" in name)
    gcs.put("research", name, gcs.content("research", name)[:-1] + b"?")
    config.train.num_steps = 8
    loop.train(config, RUN)
    assert "resuming at step 3" in capsys.readouterr().out
    assert f"gs://research/{name} is damaged (its checksum is another)" in caplog.text
    assert gcs.names("research", "runs/a/unreadable/6/") and checkpoint.load(RUN).step == 8
    seal = json.loads(gcs.content("research", "runs/a/checkpoints/8/seal.json"))
    assert all({"bytes", "crc32c", "md5"} == set(facts) for facts in seal.values())


@pytest.mark.situation("a bucket that does not exist, or without permission or credentials")
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections' own
@pytest.mark.parametrize("mode", ["train", "eval", "check"])
def test_without_permission_a_command_says_one_line(gcs, tmp_path, capsys, mode):
    (tmp_path / "config.py").write_text(
        "from pathlib import Path\nimport training_fakes\n\ndef get_config():\n"
        f"    return training_fakes.config(Path({str(tmp_path / 'images')!r}))\n"
    )
    with gcs.failing(".", status=403):
        arguments = [f"--config={tmp_path}/config.py", f"--workdir={RUN}", f"--mode={mode}"]
        assert main.main(["main", *arguments]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"error: {RUN}") and "permission denied" in said[0]


def test_a_step_copied_from_a_bucket_is_checked_by_its_md5(gcs, tmp_path):
    loop.train(fakes.config(tmp_path / "images", num_steps=3), RUN)
    for name in gcs.names("research", "runs/a/checkpoints/3/"):
        file = tmp_path / name.removeprefix("runs/a/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gcs.content("research", name))
    assert checkpoint.load(tmp_path / "checkpoints" / "3").step == 3
    file = next((tmp_path / "checkpoints" / "3" / "state" / "d").iterdir())
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{file.name} is damaged \(its MD5 is another\)"):
        checkpoint.load(tmp_path / "checkpoints" / "3")


def test_importing_the_package_does_not_import_the_stores():
    code = (
        "import hcflow_jax.main, hcflow_jax.api, sys; print(sys.modules.keys() & {'gcsfs', 's3fs', 'google.cloud'})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
