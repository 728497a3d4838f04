"""Preparing that is stopped, by whatever: the same command goes on, and gives the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_runs import COUNT, beside, files, make_pictures, one_line, run_prepare, until

from hcflow_jax.data import images, preparation, shards, workers

ROOT = str(Path(__file__).parents[1])
pictures = pytest.fixture(make_pictures)


def test_finished_shards_are_kept_and_damaged_ones_made_again(pictures, tmp_path, monkeypatch):
    (pictures / "029.png").write_bytes(b"no picture")
    assert run_prepare(pictures, tmp_path / "whole") == 0
    assert run_prepare(pictures, tmp_path / "out", "--on-error", "fail") == 1
    (partial,) = tmp_path.glob(".out.*.partial")
    made = sorted((partial / "set").iterdir())
    assert [path.name for path in made] == [shards.shard_name(i, 4) for i in range(3)]
    made[1].write_bytes(b"damaged")
    read, load = [], images.load
    monkeypatch.setattr(images, "load", lambda *args, **kwargs: read.append(args[2]) or load(*args, **kwargs))
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert [Path(name).stem for name in read] == [f"{i:03d}" for i in (*range(8, 16), *range(24, 30))]
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_repaired_pictures_are_included_and_other_shards_are_kept(pictures, tmp_path, monkeypatch):
    assert run_prepare(pictures, tmp_path / "whole") == 0
    repaired = (pictures / "003.png").read_bytes()
    for name in ("003", "012", "029"):
        (pictures / f"{name}.png").write_bytes(b"no picture")
    with monkeypatch.context() as patched:
        patched.setattr(preparation, "_publish", lambda plan: sys.exit("stopped"))
        with pytest.raises(SystemExit):
            run_prepare(pictures, tmp_path / "out")
    (pictures / "003.png").write_bytes(repaired)
    read, load = [], images.load
    monkeypatch.setattr(images, "load", lambda *args, **kwargs: read.append(args[2]) or load(*args, **kwargs))
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert [Path(name).stem for name in read] == ["003", *(f"{i:03d}" for i in range(8)), "012", "029"]
    name = shards.shard_name(0, 4)
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(shards.ShardSource(tmp_path / "out")) == COUNT - 2


def test_a_process_that_is_killed_is_one_error_and_nothing_is_lost(pictures, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr(workers, "_WORKER", "import os; os.kill(os.getpid(), 9)")
        assert run_prepare(pictures, tmp_path / "out", processes=2) == 1
    one_line(capsys, "a process was ended by SIGKILL", "memory")
    assert not (tmp_path / "out").exists()
    assert run_prepare(pictures, tmp_path / "out", processes=2) == 0


@pytest.mark.full
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_ten_points_and_started_again_gives_the_same_bytes(tmp_path, processes):
    folder, rng = tmp_path / "pictures", random.Random(processes)
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    for i in range(1500):
        Image.fromarray(np.roll(noise, i, axis=0)).save(folder / f"{i:04d}.jpg")
    (folder / "0700.jpg").write_bytes(b"no picture")

    def start(out: Path) -> subprocess.Popen[bytes]:
        code = (
            "import sys; from hcflow_jax.data import listing, prepare; listing._SHARD_IMAGES = 20\n"
            f"sys.exit(prepare.main(['--source', 'folder:{folder}', '--out', '{out}', '--resolution', '64', "
            f"'--workers', '{processes}']))"
        )
        return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)

    began = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    took = time.monotonic() - began
    killed = 0
    while killed < 10:
        run = start(tmp_path / "out")
        try:
            run.wait(rng.uniform(0.1, 0.6) * took)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.wait()
            killed += 1
        else:  # it was quick enough to finish: that too has to be right, and the next one begins anew
            assert files(tmp_path / "out") == files(tmp_path / "whole")
            shutil.rmtree(tmp_path / "out")
    assert start(tmp_path / "out").wait() == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert not beside(tmp_path / "out")


@pytest.mark.full
@pytest.mark.situation("a signal to a process group or to every process while pictures are prepared")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_stopped_by_a_signal_is_one_line(pictures, tmp_path, number, status):
    for picture in list(pictures.iterdir()):  # more than are ready before the signal comes
        for i in range(5):  # at 2000 pixels the command wants 2.2 GB of free disk for them
            os.link(picture, picture.with_stem(f"{picture.stem}_{i}"))
    arguments = ["--source", f"folder:{pictures}", "--out", str(tmp_path / "out"), "--resolution", "2000"]
    command = [sys.executable, "-m", "hcflow_jax.data.prepare", *arguments, "--workers", "2"]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    begun = lambda: any(any((part / "work").glob("*")) for part in tmp_path.glob(".out.*.partial"))  # noqa: E731
    until(lambda: begun() or run.poll() is not None)
    assert run.returncode is None, run.communicate()[1]
    workers = _children(run.pid)
    for worker in workers:  # whoever sends it to all, in whatever order
        os.kill(worker, number)
    time.sleep(0.3)
    os.killpg(run.pid, number)
    _, said = run.communicate()
    assert len(workers) == 2 and not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert run.returncode == status and said.splitlines()[-1] == "stopped; the same command continues"
    assert "Traceback" not in said and not (tmp_path / "out").exists()


def _children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.full
def test_processes_end_with_whoever_started_them(tmp_path):
    code = (
        "import sys, time; sys.path[:] = {path!r}; from hcflow_jax.data import workers\n"
        "workers.run('test_data_prepare_stopped:linger', [dict(file={file!r}, i=i) for i in range(2)], print, "
        "workers=2, what='lingering')"
    )
    path = [str(Path(__file__).parent), *sys.path]
    run = subprocess.Popen([sys.executable, "-c", code.format(path=path, file=str(tmp_path / "pid"))], cwd=ROOT)
    files = [tmp_path / "pid0", tmp_path / "pid1"]
    until(lambda: all(file.exists() for file in files))
    run.kill()
    run.wait()
    until(lambda: not any(Path(f"/proc/{file.read_text()}").exists() for file in files))


def linger(job, report) -> None:
    """A job for `test_processes_end_with_whoever_started_them` that takes an hour."""
    own = Path(f"{job['file']}.{job['i']}")
    own.write_text(str(os.getpid()))
    own.rename(f"{job['file']}{job['i']}")
    time.sleep(3600)
