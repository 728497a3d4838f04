"""`launch/slurm.sh` on a real SLURM cluster of two nodes: the limit, a requeue, a killed process, the same end.

The nodes have no GPUs. Jobs are compared at a checkpoint, so that the test does not depend on the machine's speed.
"""

import os
import re
import signal
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
import slurm_cluster
from PIL import Image

from hcflow_jax import checkpoint

ROOT = Path(__file__).resolve().parents[1]
EVERY = 20  # steps from one checkpoint to the next
RUNNING = 600  # seconds in which a job has to get on

pytestmark = pytest.mark.all


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster.running(tmp_path_factory.mktemp("slurm")) as started:
        yield started


class Run:
    """A run in a workdir, as jobs of the cluster."""

    def __init__(self, cluster: slurm_cluster.Cluster, workdir: Path, images: Path) -> None:
        self.cluster, self.workdir, self.images = cluster, workdir, images

    def submit(self, *options: str) -> str:
        """Calls the launcher; returns the job's number."""
        fields = {"data.source": "folder", "data.path": self.images, "data.eval_images": 8, "train.batch_size": 8}
        fields |= {"train.num_steps": 1_000_000, "train.checkpoint_every": EVERY, "train.keep_every": EVERY}
        fields |= {"train.init_images": 8, "train.log_every": EVERY, "train.eval_every": 0, "train.sample_every": 0}
        fields |= {"eval.images": 8, "eval.batch_size": 8, "train.watch_every": 0, "train.freeze_epoch": 0}
        training = ["--config=tests/least_config.py", f"--workdir={self.workdir}"]
        training += [f"--config.{name}={value}" for name, value in fields.items()]
        command = ["bash", str(ROOT / "launch" / "slurm.sh"), "--nodes=2", "--gpus=0", *options, "--", *training]
        said = self.cluster.run(*command, timeout=600)
        return said.split()[-1]

    def wait_for(self, step: int) -> None:
        """Waits until a step is saved, complete and sealed."""
        place = self.workdir / "checkpoints" / str(step)
        self.cluster.until(lambda: any(place.glob("*")) and self.saved() > step, RUNNING)

    def saved(self) -> int:
        """The newest step in the workdir."""
        steps = [int(p.name) for p in (self.workdir / "checkpoints").glob("*") if p.name.isdecimal()]
        return max(steps, default=-1)

    def log(self, job: str) -> str:
        """What a job has printed."""
        path = self.workdir / f"slurm-{job}.log"
        return path.read_text() if path.exists() else ""

    def cancel(self, job: str) -> None:
        """Ends a job, which saves."""
        self.cluster.run("scancel", job)
        self.cluster.until(lambda: self.cluster.job(job)["JobState"] in ("CANCELLED", "COMPLETED", "FAILED"), RUNNING)


def process_of(workdir: Path, number: int) -> int:
    """The process of a run that has a number in its job."""
    wanted = {b"hcflow_jax.main", f"--workdir={workdir}".encode()}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words, environment = (set((path / name).read_bytes().split(b"\0")) for name in ("cmdline", "environ"))
        except OSError:
            continue
        if wanted <= words and b"srun" not in words and f"SLURM_PROCID={number}".encode() in environment:
            return int(path.name)
    raise AssertionError(f"no process {number} of {workdir}")


@pytest.mark.situation("a job of SLURM that reaches its limit, is requeued, and loses a process")
def test_a_requeued_and_killed_run_is_the_run_that_was_never_stopped(cluster, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(images / f"{number:02}.png")

    run = Run(cluster, tmp_path / "stopped", images)
    job = run.submit("--time=10", "--requeue")  # five minutes before the limit it is told to save
    cluster.until(lambda: cluster.job(job)["Restarts"] == "1", RUNNING)
    (step,) = re.findall(r"SIGTERM: saved step (\d+); the same command resumes there", run.log(job))
    cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    assert not (tmp_path / "stopped" / "result.json").exists()

    first = (int(step) // EVERY + 2) * EVERY
    run.wait_for(first)
    assert f"resuming at step {step}" in run.log(job)
    os.kill(process_of(run.workdir, 1), signal.SIGKILL)
    cluster.until(lambda: cluster.job(job)["JobState"] == "FAILED", RUNNING)

    again = run.submit("--time=60")
    second = (run.saved() // EVERY + 2) * EVERY
    run.wait_for(second)
    run.cancel(again)

    whole = Run(cluster, tmp_path / "whole", images)
    job = whole.submit("--time=60")
    whole.wait_for(second)
    whole.cancel(job)
    for step in (first, second):
        places = [each.workdir / "checkpoints" / str(step) for each in (run, whole)]
        found, expected = (checkpoint.load(place, ("params", "ema")) for place in places)
        assert found.step == expected.step == int(step)
        jax.tree.map(np.testing.assert_array_equal, found.arrays, expected.arrays)


def test_a_job_that_cannot_start_says_why_in_its_log(cluster, tmp_path):
    (tmp_path / "empty").mkdir()
    run = Run(cluster, tmp_path / "run", tmp_path / "empty")
    job = run.submit("--time=60", "--requeue")
    cluster.until(lambda: cluster.job(job)["JobState"] == "FAILED", RUNNING)
    assert f"error: {tmp_path}/empty: contains no picture" in run.log(job) and cluster.job(job)["Restarts"] == "0"
    with pytest.raises(subprocess.CalledProcessError):
        run.submit("--time=soon")
