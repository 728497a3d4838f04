"""The launcher of TPUs with a stand-in for the cloud that queues, takes machines back, and loses a connection."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_launchers import ON_NFS, ROOT, TPU, TRAINING, dry, words

Run = Callable[..., subprocess.CompletedProcess[str]]
STATES = "WAITING_FOR_RESOURCES\nPROVISIONING\nACTIVE\n"


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """The folder of the stand-in."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    script = f'#!/bin/sh\nexec "{sys.executable}" -IS "{ROOT / "tests" / "fake_gcloud.py"}" "$@"\n'
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

    def run(*options: str, action: str = "train", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "CLOUD": str(cloud),
            "HCFLOW_POLL_SECONDS": "0.01",
            "TMPDIR": str(cloud),
            **variables,
        }
        environment["PATH"] = f"{cloud / 'bin'}{os.pathsep}{environment['PATH']}"
        training = ON_NFS if action == "train" else []
        command = ["bash", str(ROOT / "launch" / "tpu_pod.sh"), action, *TPU, *options, *training]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)

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
    assert not calls(cloud, "scp") and not calls(cloud, "create")


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
    assert done.returncode == 0 and not calls(cloud, "create")
    assert "the request hc: UNKNOWN (ERROR: gcloud crashed (TransportError): no route to host)" in done.stderr


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
    (cloud / "workers").write_text("running\n")
    assert "ACTIVE\nrunning\n" in train(action="status").stdout
    assert train(action="delete").returncode == 0 and not (cloud / "request").exists()
    train(action="delete")
    assert calls(cloud, "tpu-vm delete hc")  # one that was not requested through the queue


def test_the_dry_run_waits_as_the_launcher_does():
    lines = dry("tpu_pod.sh", "train", "--dry-run", *TPU, "--type=v4-8", *ON_NFS)
    assert " || gcloud compute tpus queued-resources create hc" in lines[0] and "=v2-alpha-tpuv4" in lines[0]
    assert lines[1].startswith("until [ ") and lines[1].endswith(" = ACTIVE ]; do sleep 30; done")
    assert not any("create" in line for line in dry("tpu_pod.sh", "train", "--dry-run", *TPU, *ON_NFS))


def test_a_pod_is_filled_and_started():
    asked, *lines = dry("tpu_pod.sh", "train", "--dry-run", *TPU, *ON_NFS)
    assert asked.startswith('if [ "$(gcloud ') and asked.endswith('| tail -n 1)" != running ]; then')
    pack, copy, unpack, install, mount, end, start = words(lines)
    assert end == ["fi"]
    tpu = ["gcloud", "compute", "tpus", "tpu-vm"]
    assert pack[:3] == ["tar", "-C", str(ROOT)] and all((ROOT / name).exists() for name in pack[6:])
    assert copy == [*tpu, "scp", pack[5], "hc:hcflow_jax.tar.gz", "--zone=us-west4-a", "--worker=all"]
    for command in (unpack, install, mount, start):
        assert command[:7] == [*tpu, "ssh", "hc", "--zone=us-west4-a"] and command[7] == "--worker=all"
        inner = command[8].removeprefix("--command=")
        subprocess.run(["bash", "-n"], input=inner, text=True, check=True)
    assert "ensure_env tpu" in install[8] and "10.0.0.2:/runs /mnt/hcflow" in mount[8]
    inner = start[8].removeprefix("--command=")
    cache = "JAX_COMPILATION_CACHE_DIR=/mnt/hcflow/.xla"  # so that new machines do not compile again
    assert shlex.split(inner) == ["cd", "hcflow_jax", "&&", cache, "bash", "launch/_worker.sh", "start", *ON_NFS[2:]]


def test_a_pod_that_is_there_is_used_and_given_back():
    made, fetched = dry("tpu_pod.sh", "logs", "--dry-run", *TPU, "--out=here")
    assert made == "mkdir -p here" and "--output-directory=here" in fetched and "--worker=all" in fetched
    (stop,) = dry("tpu_pod.sh", "stop", "--dry-run", *TPU)
    assert "launch/_worker.sh stop" in stop
    (delete,) = dry("tpu_pod.sh", "delete", "--dry-run", *TPU, "--project=p")
    assert "then gcloud compute tpus queued-resources delete hc --project=p --zone=us-west4-a --force;" in delete


@pytest.mark.parametrize(
    ("plan", "refused", "message"),
    [
        ("NONE", "create", "the cloud refused the request hc (see above)"),
        ("FAILED", "delete", "the cloud did not delete the request hc (see above)"),
        ("SUSPENDED", "delete", "the cloud did not delete the request hc (see above)"),
    ],
)
def test_what_the_cloud_refuses_ends_the_launcher(cloud: Path, train: Run, plan: str, refused: str, message: str):
    (cloud / "refused").write_text(refused)
    (cloud / "plan").write_text(f"{plan}\n")
    if plan != "NONE":
        (cloud / "request").touch()
    done = train("--type=v6e-64", "--spot")
    assert done.returncode == 2 and done.stderr.endswith(f"exceeded\nerror: {message}\n")
    assert len(calls(cloud, refused)) == 1


def test_a_request_whose_answer_was_lost_is_not_made_twice(cloud: Path, train: Run):
    (cloud / "refused").write_text("lost")
    assert train("--type=v6e-64").returncode == 0 and len(calls(cloud, "create")) == 1


@pytest.mark.parametrize(
    "error",
    [
        "ERROR: (gcloud.describe) PERMISSION_DENIED: Permission 'tpu.queuedResources.get' denied.",
        "ERROR: (gcloud.describe) INVALID_ARGUMENT: location is not valid",
        "ERROR: (gcloud.describe) You do not currently have an active account selected.",
        "ERROR: Cloud TPU API has not been used in project 7 before or it is disabled.",
    ],
)
def test_an_error_that_does_not_pass_ends_the_launcher(cloud: Path, train: Run, error: str):
    (cloud / "request").touch()
    (cloud / "plan").write_text(f"{error}\n")
    done = train("--type=v6e-64")
    assert (done.returncode, done.stderr) == (2, f"error: the cloud does not show the request hc: {error}\n")


def test_a_cloud_that_never_answers_is_waited_for_so_long(cloud: Path, train: Run):
    (cloud / "request").touch()
    (cloud / "plan").write_text("NETWORK\n")
    done = train("--type=v6e-64", "--wait=2", HCFLOW_HOUR_SECONDS="0")
    assert done.returncode == 2
    assert "error: --wait=2: the cloud did not show the request hc for so many hours: ERROR: gcloud c" in done.stderr


@pytest.mark.parametrize("spot", [[], ["--spot", "--type=v6e-64"]])
def test_new_code_does_not_come_over_code_that_runs(cloud: Path, train: Run, spot: list[str]):
    (cloud / "request").touch()
    (cloud / "workers").write_text("UNREACHABLE\nrunning\nended 0\n")
    done = train(*spot)
    assert done.returncode == 0 and "training runs already on hc" in done.stderr
    assert not calls(cloud, "scp") and not calls(cloud, "ensure_env")
    assert len(calls(cloud, "_worker.sh start", "--worker=all")) == 1  # for a worker that did not start


def test_new_code_does_not_come_over_code_that_may_run(cloud: Path, train: Run):
    (cloud / "workers").write_text("UNREACHABLE\n")
    done = train()
    assert done.returncode == 2 and "error: the first worker of hc did not answer, 3 times" in done.stderr
    assert not calls(cloud, "scp") and not calls(cloud, "_worker.sh start")


def test_a_spot_run_whose_worker_rebooted_is_started_again(cloud: Path, train: Run):
    (cloud / "request").touch()
    (cloud / "workers").write_text("not started\nrunning\n" + 4 * "not started\n" + "running\nended 0\n")
    done = train("--type=v6e-64", "--spot")
    assert done.returncode == 0 and "took the machines back" not in done.stderr
    assert "training does not run on the first worker of hc any more; starting it again" in done.stderr
    assert len(calls(cloud, "_worker.sh start")) == 2 and len(calls(cloud, "_worker.sh stop")) == 1
    asked = calls(cloud, "_worker.sh status")[0].partition("--command=")[2]
    said = subprocess.run(["bash", "-c", asked], cwd=cloud, capture_output=True, text=True)
    assert said.stdout == "not started\n"  # a machine without the code


def test_a_spot_run_that_never_ran_is_not_started_again(cloud: Path, train: Run):
    (cloud / "request").touch()
    done = train("--type=v6e-64", "--spot")
    assert done.returncode == 2 and "error: training did not stay on the first worker of hc" in done.stderr
    assert len(calls(cloud, "_worker.sh start")) == 1


def test_other_arguments_are_not_started_beside_those_that_run(cloud: Path, train: Run):
    (cloud / "workers").write_text("running with other arguments\n")
    done = train()
    assert done.returncode == 2 and "error: training runs already on hc, with other arguments" in done.stderr
    assert not calls(cloud, "scp") and not calls(cloud, "_worker.sh start")


def test_the_workdir_may_be_on_a_file_system_that_the_user_mounted():
    lines = dry("tpu_pod.sh", "train", "--dry-run", *TPU, "--shared", *TRAINING)
    assert not any("mount" in line for line in lines) and "/runs/it" in lines[-1]


def test_each_slice_has_its_logs():
    lines = dry("tpu_pod.sh", "logs", "--dry-run", *TPU, "--slices=2", "--out=here")
    assert lines[0::2] == ["mkdir -p here/hc-0", "mkdir -p here/hc-1"]
    for i, line in enumerate(lines[1::2]):
        assert f"ssh hc-{i} " in line and f"--output-directory=here/hc-{i} " in line
