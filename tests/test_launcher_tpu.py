"""The launcher of TPUs with a stand-in for the cloud that queues, takes machines back, and loses a connection."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_launchers import ROOT, TPU, TRAINING, dry, launch, words

Run = Callable[..., subprocess.CompletedProcess[str]]
STATES = "WAITING_FOR_RESOURCES\nPROVISIONING\nACTIVE\n"


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """The folder of the stand-in."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    script = f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "tests" / "fake_gcloud.py"}" "$@"\n'
    for name, text in (("gcloud", script), ("tar", "#!/bin/sh\n")):
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("bucket, workdir", [(["--bucket=gs://research/hc"], "a"), ([], "gs://research/hc/a")])
def test_runs_and_compiled_programs_may_be_in_a_bucket(bucket: list[str], workdir: str):
    lines = dry("tpu_pod.sh", "train", *TPU, "--dry-run", *bucket, *TRAINING[:2], f"--workdir={workdir}")
    (start,) = [line for line in lines if "_worker.sh start" in line]
    assert "cd hcflow_jax && JAX_COMPILATION_CACHE_DIR=gs://research/hc/.xla bash launch/_worker.sh start" in start
    assert "--workdir=gs://research/hc/a" in start
    assert any("ensure_env tpu,gcs" in line for line in lines)


@pytest.fixture
def train(cloud: Path) -> Run:
    """Runs the launcher."""

    def run(*options: str, action: str = "train") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CLOUD": str(cloud), "HCFLOW_POLL_SECONDS": "0.01", "TMPDIR": str(cloud)}
        environment["PATH"] = f"{cloud / 'bin'}{os.pathsep}{environment['PATH']}"
        training = TRAINING if action == "train" else []
        command = ["bash", str(ROOT / "launch" / "tpu_pod.sh"), action, *TPU, *options, *training]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run


def calls(cloud: Path, *words: str) -> list[str]:
    """The calls that have all of the words."""
    return [line for line in (cloud / "calls").read_text().splitlines() if all(word in line for word in words)]


def test_a_pod_is_queued_for_filled_and_started(cloud: Path, train: Run):
    (cloud / "plan").write_text(STATES)
    done = train("--type=v5litepod-256")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"the request hc: (\w+)", done.stderr) == ["NONE", *STATES.split()]
    assert calls(cloud, "create") == [
        "compute tpus queued-resources create hc --zone=us-west4-a --accelerator-type=v5litepod-256 "
        "--runtime-version=v2-alpha-tpuv5-lite --node-id=hc --valid-until-duration=24h"
    ]
    assert len(calls(cloud, "scp", "hc:hcflow_jax.tar.gz", "--worker=all")) == 1
    assert len(calls(cloud, "ssh", "ensure_env tpu")) == len(calls(cloud, "_worker.sh start")) == 1
    train("--type=v5litepod-256")
    assert len(calls(cloud, "create")) == 1  # it is there


def test_a_spot_run_goes_on_with_new_machines_when_the_cloud_takes_them_back(cloud: Path, train: Run):
    (cloud / "plan").write_text(STATES + "ACTIVE\nACTIVE\nSUSPENDING\nSUSPENDED\n" + "PROVISIONING\nACTIVE\n")
    (cloud / "workers").write_text("not started\nrunning\nended 143\nnot started\nrunning\nrunning\nended 0\n")
    done = train("--type=v6e-64", "--spot", "--wait=6")
    assert done.returncode == 0, done.stderr
    assert "the cloud took the machines back; requesting others, to continue from the last checkpoint" in done.stderr
    created = calls(cloud, "create", "--spot", "--valid-until-duration=6h", "--runtime-version=v2-alpha-tpuv6e")
    assert len(created) == 2 and len(calls(cloud, "delete hc", "--force --quiet")) == 1
    started = calls(cloud, "_worker.sh start")
    assert len(started) == 2 and started[0] == started[1]  # the same command continues the run


def test_a_spot_run_that_trains_already_is_watched(cloud: Path, train: Run):
    (cloud / "request").touch()
    (cloud / "workers").write_text("running\nrunning\nended 0\n")
    assert train("--type=v6e-64", "--spot").returncode == 0
    assert not calls(cloud, "_worker.sh start") and not calls(cloud, "create")


def test_a_run_that_fails_by_itself_is_not_started_again(cloud: Path, train: Run):
    (cloud / "request").touch()
    (cloud / "workers").write_text("not started\nrunning\nended 2\n")
    done = train("--type=v6e-64", "--spot")
    assert done.returncode == 2 and "error: training ended with status 2" in done.stderr
    assert len(calls(cloud, "_worker.sh start")) == 1


def test_a_worker_whose_ssh_fails_is_tried_again(cloud: Path, train: Run):
    (cloud / "request").touch()
    (cloud / "fails").write_text("2")
    assert train("--type=v5litepod-16").returncode == 0
    (cloud / "fails").write_text("3")
    done = train("--type=v5litepod-16")
    assert done.returncode == 2
    assert "error: a worker of hc did not do its part, 3 times: gcloud compute tpus tpu-vm ssh hc" in done.stderr


def test_the_cloud_that_does_not_answer_is_asked_again(cloud: Path, train: Run):
    (cloud / "request").touch()
    (cloud / "plan").write_text("NETWORK\nNETWORK\nACTIVE\n")
    done = train("--type=v5litepod-16")
    assert done.returncode == 0 and "the request hc: UNKNOWN" in done.stderr and not calls(cloud, "create")


def test_a_request_that_is_not_filled_is_one_line(cloud: Path, train: Run):
    (cloud / "plan").write_text("WAITING_FOR_RESOURCES\nFAILED\n")
    done = train("--type=v5litepod-16")
    assert done.returncode == 2 and "error: the cloud did not fill the request hc: FAILED" in done.stderr


def test_an_old_request_that_failed_is_made_again(cloud: Path, train: Run):
    (cloud / "request").touch()
    (cloud / "plan").write_text("FAILED\nPROVISIONING\nACTIVE\n")
    assert train("--type=v5litepod-16").returncode == 0
    assert len(calls(cloud, "create")) == len(calls(cloud, "delete hc")) == 1


def test_several_slices_are_one_request(cloud: Path, train: Run):
    assert train("--type=v5p-16", "--slices=2").returncode == 0
    assert calls(cloud, "create", "--node-count=2 --node-prefix=hc", "--runtime-version=v2-alpha-tpuv5 ")
    for node in ("hc-0", "hc-1"):
        assert len(calls(cloud, f"ssh {node} ", "_worker.sh start")) == 1


def test_a_request_is_described_and_given_back(cloud: Path, train: Run):
    (cloud / "request").touch()
    assert "ACTIVE\nrunning\n" in train(action="status").stdout
    assert train(action="delete").returncode == 0 and not (cloud / "request").exists()
    train(action="delete")
    assert calls(cloud, "tpu-vm delete hc")  # one that was not requested through the queue


def test_the_dry_run_waits_as_the_launcher_does():
    lines = dry("tpu_pod.sh", "train", "--dry-run", *TPU, "--type=v4-8", *TRAINING)
    assert " || gcloud compute tpus queued-resources create hc" in lines[0] and "=v2-alpha-tpuv4" in lines[0]
    assert lines[1].startswith("until [ ") and lines[1].endswith(" = ACTIVE ]; do sleep 30; done")
    assert not any("create" in line for line in dry("tpu_pod.sh", "train", "--dry-run", *TPU, *TRAINING))


def test_a_pod_is_filled_and_started():
    lines = dry("tpu_pod.sh", "train", "--dry-run", *TPU, "--nfs=10.0.0.2:/runs", *TRAINING)
    pack, copy, unpack, install, mount, start = words(lines)
    tpu = ["gcloud", "compute", "tpus", "tpu-vm"]
    assert pack[:3] == ["tar", "-C", str(ROOT)] and all((ROOT / name).exists() for name in pack[6:])
    assert copy == [*tpu, "scp", pack[5], "hc:hcflow_jax.tar.gz", "--zone=us-west4-a", "--worker=all"]
    for command in (unpack, install, mount, start):
        assert command[:7] == [*tpu, "ssh", "hc", "--zone=us-west4-a"] and command[7] == "--worker=all"
        inner = command[8].removeprefix("--command=")
        subprocess.run(["bash", "-n"], input=inner, text=True, check=True)
    assert "ensure_env tpu" in install[8] and "10.0.0.2:/runs /mnt/hcflow" in mount[8]
    inner = start[8].removeprefix("--command=")
    assert shlex.split(inner) == ["cd", "hcflow_jax", "&&", "bash", "launch/_worker.sh", "start", *TRAINING[1:]]


def test_a_pod_that_is_there_is_used_and_given_back():
    made, fetched = dry("tpu_pod.sh", "logs", "--dry-run", *TPU, "--out=here")
    assert made == "mkdir -p here" and "--output-directory=here" in fetched and "--worker=all" in fetched
    (stop,) = dry("tpu_pod.sh", "stop", "--dry-run", *TPU)
    assert "launch/_worker.sh stop" in stop
    (delete,) = dry("tpu_pod.sh", "delete", "--dry-run", *TPU, "--project=p")
    assert "then gcloud compute tpus queued-resources delete hc --project=p --zone=us-west4-a --force;" in delete


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--type=v5litepod-8", "--version=v2-alpha-tpuv6e"],
            "machines of the type v5litepod-8 run v2-alpha-tpuv5-lite",
        ),
        (["--type=v5p-8", "--version=v2-alpha-tpuv5-lite"], "machines of the type v5p-8 run v2-alpha-tpuv5"),
        (["--type=tpu7x-8"], "--type=tpu7x-8: expected v4-, v5litepod-, v5p- or v6e- and a number"),
        (["--type=v6e"], "--type=v6e: expected v4-"),
        (["--spot"], "--spot needs --type=TYPE"),
        (["--slices=0"], "--slices=0: expected a whole number above 0"),
        (["--wait=soon"], "--wait=soon: expected a whole number above 0"),
    ],
)
def test_mistakes_give_one_line(options: list[str], message: str):
    done = launch("tpu_pod.sh", "train", *TPU, *options, *TRAINING)
    assert (done.returncode, done.stdout) == (2, "") and message in done.stderr
