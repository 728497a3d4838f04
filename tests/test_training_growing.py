"""A disk that is full for a while: training goes on, one line for each file says so, no row or event is missing."""

import json
import resource
import threading
import time
from contextlib import contextmanager

import jax.numpy as jnp

from hcflow_jax import layout
from hcflow_jax.training import metrics
from hcflow_jax.training.growing import GrowingFile


@contextmanager
def full_disk(size):
    """Files of this process cannot become longer than `size` bytes, as if the disk had no more room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def complaints(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]


def test_records_that_did_not_fit_follow_and_no_part_of_one_stays(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("older\n")
    file = GrowingFile(path)
    with full_disk(len("older\nfirst\nsec")):
        for record in (b"first\n", b"second\n", b"third\n"):
            file.write(record)
            file.flush()
        assert path.read_text() == "older\nfirst\nsec"
    (line,) = complaints(capsys)
    assert line.startswith(f"error: {path} cannot be written (") and "the run continues" in line
    file.flush()
    file.write(b"fourth\n")
    file.flush()
    assert path.read_text() == "older\nfirst\nsecond\nthird\nfourth\n"
    with full_disk(10):
        file.write(b"fifth\n")
        file.flush()
    assert len(complaints(capsys)) == 1  # it worked between the two


def test_a_file_that_cannot_be_opened_is_written_when_it_can(tmp_path, capsys):
    file = GrowingFile(tmp_path / "missing" / "file")
    for _ in range(2):
        file.write(b"record\n")
        file.flush()
    assert len(complaints(capsys)) == 1
    (tmp_path / "missing").mkdir()
    file.close()
    assert (tmp_path / "missing" / "file").read_bytes() == b"record\n" * 2


def test_a_history_has_all_rows_in_the_end(tmp_path, capsys):
    history = metrics.History(tmp_path, 0)
    history.write({"step": 1})
    with full_disk((tmp_path / layout.HISTORY).stat().st_size + 5):
        for step in (2, 3):
            history.write({"step": step})
    assert len(complaints(capsys)) == 1
    history.close()
    rows = [json.loads(line) for line in (tmp_path / layout.HISTORY).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3] == [row["step"] for row in history.rows]


def test_a_full_disk_neither_ends_nor_blocks_the_reports(tmp_path, capsys, monkeypatch):
    """tensorboardX has room for ten events that its thread has not taken yet."""
    monkeypatch.setattr(metrics, "FLUSH_SECONDS", 0.01)
    clock = metrics.Clock()
    report = metrics.Reporter(tmp_path, 0, num_steps=40, batch_size=4, clock=clock)
    values = {f"value{i}": jnp.float32(i) for i in range(8)}
    values |= {"loss": jnp.float32(1), "bits_per_dim": jnp.float32(1), "skipped": jnp.int32(0)}
    said = []

    def write():
        for step in range(1, 6):
            report.train(step, values)
        end = time.monotonic() + 20
        while len(said) < 2 and time.monotonic() < end:
            time.sleep(0.02)
            said.extend(complaints(capsys))

    with full_disk(20):
        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        thread.join(30)
    assert not thread.is_alive()
    assert sorted(line.split("/")[-1].split()[0].partition(".")[0] for line in said) == ["events", "history"]
    report.close()
    rows = [json.loads(line) for line in (tmp_path / layout.HISTORY).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    (events,) = (tmp_path / layout.TENSORBOARD).iterdir()
    assert all(events.read_bytes().count(f"train/value{i}".encode()) == 5 for i in range(8))
