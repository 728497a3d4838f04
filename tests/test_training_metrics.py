"""What a run writes about itself: its history, TensorBoard's files without TensorFlow, where time went."""

import json
import struct
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from hcflow_jax import layout
from hcflow_jax.training import metrics


def rows(workdir):
    return [json.loads(line) for line in (workdir / layout.HISTORY).read_text().splitlines()]


def test_rows_after_the_restored_step_are_dropped(tmp_path):
    history = metrics.History(tmp_path, 0)
    for step in (0, 10, 20, 30):
        history.write({"step": step, "loss": float(step)})
    with (tmp_path / layout.HISTORY).open("a") as file:
        file.write('{"step": 40, "lo')  # killed while writing

    resumed = metrics.History(tmp_path, 20)
    assert [row["step"] for row in resumed.rows] == [0, 10, 20]
    resumed.write({"step": 30, "loss": -1.0})
    assert [row["loss"] for row in rows(tmp_path)] == [0, 10, 20, -1]


def test_values_become_plain_json():
    values = {
        "a": jnp.float32(0.5),
        "b": jnp.int32(3),
        "c": jnp.float32(jnp.nan),
        "d": np.float64(2),
        "e": None,
    }
    assert json.dumps(metrics.plain(values)) == '{"a": 0.5, "b": 3, "c": null, "d": 2.0, "e": null}'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (41, "41s"), (187, "3m07s"), (7_500, "2h05m"), (4 * 86_400 + 3 * 3_600, "4d03h")],
)
def test_durations(seconds, text):
    assert metrics.duration(seconds) == text


def test_a_section_inside_another_counts_once():
    times = iter([0.0, 1.0, 3.0, 10.0, 14.0, 14.0, 14.0, 14.0])
    clock = metrics.Clock(lambda: next(times))
    with clock.section("training"), clock.section("compiling"):
        assert clock.seconds("compiling") == 7
    assert clock.seconds("training") == 2
    assert clock.seconds("compiling") == 11


def reporter(workdir, clock, step=0):
    return metrics.Reporter(workdir, step, num_steps=40, batch_size=4, clock=clock)


def test_a_logged_step_reaches_history_stdout_and_tensorboard(tmp_path, capsys):
    clock = metrics.Clock()
    report = reporter(tmp_path, clock)
    values = {"loss": jnp.float32(12.5), "bits_per_dim": jnp.float32(6.73), "skipped": jnp.int32(2)}
    with clock.section("training"):
        report.train(20, values)
    report.evaluation(20, {"bits_per_dim": 6.5, "loss": 11.0, "by_level": {"8": 6.5}})
    report.images(20, {"samples": np.zeros((4, 4, 3), np.uint8)})
    report.close()

    line = capsys.readouterr().out
    assert line.startswith("step 20/40  loss 12.5000  bits/dim 6.7300  ")
    assert "images/s  ETA 0s" in line and "2 steps skipped" in line
    train, evaluation = rows(tmp_path)
    assert (train["step"], train["kind"], train["loss"]) == (20, "train", 12.5)
    assert (evaluation["kind"], evaluation["bits/8"]) == ("eval", 6.5)
    events = b"".join(tags(file) for file in (tmp_path / layout.TENSORBOARD).iterdir())
    for tag in (b"train/loss", b"train/bits_per_dim", b"eval/bits/8", b"samples"):
        assert tag in events


@pytest.mark.parametrize(("waited", "said"), [(3.0, True), (0.4, False)])
def test_the_wait_for_images_is_a_part_of_the_training_time(tmp_path, capsys, waited, said):
    now = [0.0]
    clock = metrics.Clock(lambda: now[0])
    report = reporter(tmp_path, clock)
    values = {"loss": jnp.float32(1), "bits_per_dim": jnp.float32(1), "skipped": jnp.int32(0)}
    with clock.section("training"):
        for step in (10, 20):
            with clock.section("waiting"):
                now[0] += waited if step == 20 else 0
            now[0] += 10 - waited if step == 20 else 10
            report.train(step, values)
    report.close()
    assert [row["input_wait"] for row in rows(tmp_path)] == [0, waited / 10]
    assert [row["images_per_second"] for row in rows(tmp_path)] == [4, 4]
    assert [row["images_per_second_per_device"] for row in rows(tmp_path)] == [4 / jax.device_count()] * 2
    assert [row["seconds"] for row in rows(tmp_path)] == [10, 20]
    first, second = capsys.readouterr().out.splitlines()
    assert "4.0 images/s" in first and "4.0 images/s" in second
    assert "waiting" not in first and ("(30% of the time spent waiting for images)" in second) == said


def payloads(file):
    """The payloads of an event file: length 8, crc 4, payload, crc 4."""
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + length])
        data = data[16 + length :]
    return found


def tags(file):
    return b"".join(payloads(file))


@pytest.mark.parametrize("step", [0, 20])
def test_events_of_steps_that_were_not_saved_are_hidden(tmp_path, step):
    reporter(tmp_path, metrics.Clock(), step).close()
    (file,) = (tmp_path / layout.TENSORBOARD).iterdir()
    kinds: Any = event_pb2
    events = [kinds.Event.FromString(payload) for payload in payloads(file)]
    starts = [event.step for event in events if event.session_log.status == kinds.SessionLog.START]
    assert starts == [step + 1]  # as in the history, what was written at this step stays


def test_seconds_go_on_after_a_resume(tmp_path):
    first = metrics.History(tmp_path, 0)
    first.write({"step": 20, "kind": "train", "seconds": 100.0})
    report = reporter(tmp_path, metrics.Clock(), step=20)
    report.evaluation(20, {"by_level": {}})
    report.close()
    assert rows(tmp_path)[-1]["seconds"] == pytest.approx(100, abs=1)


@pytest.mark.full
def test_training_needs_no_tensorflow():
    """Some modules of clu do; `hcflow_jax.training` imports the others."""
    code = (
        "import sys; from hcflow_jax.training import loop; assert 'clu.parameter_overview' in sys.modules; "
        "assert not {'tensorflow', 'tensorboard'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=__file__.rsplit("/", 2)[0])
