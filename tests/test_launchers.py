"""The launchers: what they would do, that they do just that, and one line for what the user can put right.

No scheduler or cloud is at hand: the tools are scripts that write down how they were called. No cluster has checked
the manifest: it is held to `jobset_schema`.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from jobset_schema import SCHEMA

Worker = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parents[1]
TRAINING = ["--", "--config=configs/celebahq_a.py", "--workdir=/runs/it's a", "--config.train.batch_size=512"]
TPU = ["--name=hc", "--zone=us-west4-a"]
ON_NFS = ["--nfs=10.0.0.2:/runs", *TRAINING[:2], "--workdir=/mnt/hcflow/it's a", TRAINING[3]]
JOBSET = ["train", "--image=registry/hcflow:1", "--claim=runs"]


def launch(script: str, *arguments: str, path: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(ROOT / "launch" / script), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **options)


def dry(script: str, *arguments: str, **options: Any) -> list[str]:
    """The lines of a dry run."""
    done = launch(script, *arguments, **options)
    assert (done.returncode, done.stderr) == (0, "")
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)  # it is a script
    return done.stdout.splitlines()


def words(lines: list[str]) -> list[list[str]]:
    return [shlex.split(line) for line in lines]


def main_of(line: str) -> list[str]:
    """The arguments of hcflow_jax.main in a command."""
    all_words = shlex.split(line.removesuffix("|| status=$?"))
    return all_words[all_words.index("hcflow_jax.main") + 1 :]


def test_one_host():
    enter, install, train = dry("local.sh", "--dry-run", "--extra=cuda12", "--devices=0,3", *TRAINING)
    assert shlex.split(enter) == ["cd", str(ROOT)]
    assert shlex.split(install) == ["bash", "-c", "source launch/_env.sh && ensure_env cuda12"]
    assert main_of(train) == TRAINING[1:]
    set_ = shlex.split(train)
    assert set_[0] == "env" and {"JAX_PLATFORMS=cuda,cpu", "CUDA_VISIBLE_DEVICES=0,3"} < set(set_)
    on_cpu = dry("local.sh", "--dry-run", "--extra=demo", *TRAINING)[-1]
    assert "JAX_PLATFORMS=cpu" in shlex.split(on_cpu) and "CUDA" not in on_cpu


def test_slurm_runs_one_process_a_node_with_all_its_gpus():
    options = ["--nodes=4", "--gpus=4", "--cpus=32", "--time=1-12:00:00", "--partition=gpu", "--requeue"]
    options += ["--mem=200G", "--exclusive"]
    lines = dry("slurm.sh", "--dry-run", *options, *TRAINING)
    first = lines.index('sbatch <<"END"')
    assert words(lines[:first])[-1] == ["mkdir", "-p", "/runs/it's a"]
    headers = [shlex.split(line.removeprefix("#SBATCH "))[0] for line in lines if line.startswith("#SBATCH")]
    assert headers == [
        *(
            "--job-name=hcflow",
            "--nodes=4",
            "--ntasks-per-node=1",
            "--gpus-per-node=4",
            "--partition=gpu",
            "--mem=200G",
            "--exclusive",
        ),
        *("--cpus-per-task=32", "--time=1-12:00:00", "--requeue", "--signal=TERM@300"),
        *("--output=/runs/it's a/slurm-%j.log", "--open-mode=append"),
    ]
    (train,) = [line for line in lines if line.startswith("srun")]
    assert shlex.split(train)[:3] == ["srun", "--cpus-per-task=32", "--kill-on-bad-exit=1"]
    assert main_of(train) == TRAINING[1:]
    (export,) = [shlex.split(line) for line in lines if line.startswith("export JAX_PLATFORMS")]
    assert export[1:] == ["JAX_PLATFORMS=cuda,cpu", "XLA_PYTHON_CLIENT_MEM_FRACTION=0.92"]
    assert '[ "$status" -ne 143 ] || scontrol requeue "$SLURM_JOB_ID"' in lines
    assert lines[-1] == "END"


@pytest.mark.parametrize(
    ("script", "options", "extra"),
    [
        ("local.sh", ["--extra=cuda12", *TRAINING], "cuda12"),
        ("slurm.sh", TRAINING, "cuda12"),
        ("tpu_pod.sh", ["train", *TPU, *ON_NFS], "tpu"),
    ],
)
def test_paths_in_buckets_need_an_extra(script: str, options: list[str], extra: str):
    """Wherever such a path stands."""
    given = ["--config.data.path=s3://research/c", "--config.train.init_from=gs://research/a"]
    for paths, extras in (given[:1], ",s3"), (given[1:], ",gcs"), (given, ",gcs,s3"):
        lines = dry(script, "--dry-run", *options, *paths)
        assert any(line.rstrip("'").endswith(f"ensure_env {extra}{extras}") for line in lines)
    assert '".[$EXTRA,gcs,s3]"' in (ROOT / "launch" / "Dockerfile").read_text()


def test_compiled_programs_in_a_bucket_need_an_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "gs://research/.xla")
    _, install, _ = dry("local.sh", "--dry-run", "--extra=demo", *TRAINING)
    assert shlex.split(install)[-1].endswith("ensure_env demo,gcs")


def manifest(*arguments: str) -> dict[str, Any]:
    first, *rest, last = dry("kubernetes.sh", *JOBSET, "--dry-run", *arguments, *TRAINING)
    assert (first, last) == ('kubectl apply -f - <<"END"', "END")
    made = yaml.safe_load("\n".join(rest))
    jsonschema.validate(made, SCHEMA)
    return made


def pod(made: dict[str, Any]) -> dict[str, Any]:
    return made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def test_a_jobset_on_gpus_names_its_coordinator():
    made = manifest("--name=hc", "--hosts=3", "--gpus=4")
    job = made["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (made["metadata"]["name"], job["parallelism"], job["completions"]) == ("hc", 3, 3)
    container = pod(made)["containers"][0]
    # As the pod's bash would start it: a `python` that says its arguments.
    command = [*container["command"], *container["args"]]
    command[2] = "python() { printf '%s\\n' \"$@\"; }; " + command[2].removeprefix("exec ")
    run = subprocess.run(command, env={"JOB_COMPLETION_INDEX": "2", "PATH": os.environ["PATH"]}, capture_output=True)
    assert run.stdout.decode().splitlines() == [
        *("-m", "hcflow_jax.main", *TRAINING[1:]),
        *("--coordinator_address=hc-workers-0-0.hc:8476", "--num_processes=3", "--process_id=2"),
    ]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 4}}
    assert {"name": "JAX_LOCAL_DEVICE_IDS", "value": "0,1,2,3"} in container["env"]


def test_a_jobset_on_tpus_leaves_finding_them_to_jax():
    made = manifest("--hosts=64", "--tpu=tpu-v5-lite-podslice:16x16", "--chips=4")
    assert pod(made)["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "16x16",
    }
    container = pod(made)["containers"][0]
    assert "coordinator" not in container["command"][2]
    assert container["resources"] == {"limits": {"google.com/tpu": 4}}


def test_a_jobset_of_several_slices_waits_in_a_queue():
    plain = manifest("--hosts=16", "--tpu=tpu-v6e-slice:8x8")
    assert plain["metadata"]["labels"] == plain["metadata"]["annotations"] == {}
    made = manifest("--hosts=16", "--tpu=tpu-v6e-slice:8x8", "--slices=2", "--queue=research")
    assert made["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "research"}
    assert made["metadata"]["annotations"] == {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
    }
    (job,) = made["spec"]["replicatedJobs"]
    assert (job["replicas"], job["template"]["spec"]["parallelism"]) == (2, 16)


def test_a_jobset_may_have_its_runs_in_a_bucket():
    claimed = manifest()
    assert pod(claimed)["volumes"][0] == {"name": "runs", "persistentVolumeClaim": {"claimName": "runs"}}
    options = ["train", "--image=registry/hcflow:1", "--dry-run"]
    for bucket, workdir in (["--bucket=gs://research/hc/"], "a"), ([], "gs://research/hc/a"):
        first, *rest, _ = dry("kubernetes.sh", *options, *bucket, *TRAINING[:2], f"--workdir={workdir}")
        made = yaml.safe_load("\n".join(rest))
        jsonschema.validate(made, SCHEMA)
        container = pod(made)["containers"][0]
        assert container["args"][-1] == "--workdir=gs://research/hc/a"
        assert {"name": "JAX_COMPILATION_CACHE_DIR", "value": "gs://research/hc/.xla"} in container["env"]
        assert pod(made)["volumes"][0] == {"name": "runs", "emptyDir": {}}


def test_a_jobset_may_stay_as_it_failed():
    assert manifest("--restarts=0")["spec"]["failurePolicy"] == {"maxRestarts": 0}


def test_a_jobset_is_watched_and_deleted():
    (logs,) = dry("kubernetes.sh", "logs", "--dry-run", "--name=hc", "--namespace=n")
    assert shlex.split(logs)[:3] == ["kubectl", "logs", "--namespace=n"] and "jobset-name=hc," in logs
    assert dry("kubernetes.sh", "delete", "--dry-run") == ["kubectl delete jobset hcflow"]


def test_the_schema_finds_mistakes():
    """A schema that took anything would say nothing."""
    for break_ in (
        lambda made: made["spec"].pop("replicatedJobs"),
        lambda made: made["spec"].update(maxRestarts=3),
        lambda made: pod(made).update(restartPolicy="Sometimes"),
        lambda made: pod(made)["containers"][0]["env"].append({"name": "A", "value": 1}),
    ):
        made = manifest()
        break_(made)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(made, SCHEMA)


@pytest.mark.parametrize(
    ("script", "arguments", "tool"),
    [
        ("slurm.sh", ["--nodes=2", *TRAINING[:2], "--workdir={tmp}/run"], "sbatch"),
        ("tpu_pod.sh", ["train", *TPU, *ON_NFS], "gcloud"),
        ("tpu_pod.sh", ["logs", *TPU, "--out={tmp}/logs"], "gcloud"),
        ("tpu_pod.sh", ["delete", *TPU], "gcloud"),
        ("kubernetes.sh", [*JOBSET, *TRAINING], "kubectl"),
        ("kubernetes.sh", ["logs"], "kubectl"),
    ],
)
def test_what_is_printed_is_what_is_done(tmp_path: Path, script: str, arguments: list[str], tool: str):
    """The dry run's script and the launcher itself, each with the same stand-ins for what they call."""
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    stands_in = tmp_path / "bin"
    stands_in.mkdir()
    # A TPU of the name is not there; a shell given a line of ours to run installs nothing.
    log = 'printf "%s\\n" "{name}" "$@" >>"$CALLS"; [ "$4" != describe ] || exit 1; {more}'
    for name, more in ((tool, '[ -t 0 ] || cat >>"$CALLS"'), ("tar", ":"), ("bash", ":")):
        (stands_in / name).write_text("#!/bin/sh\n" + log.format(name=name, more=more) + "\n")
        (stands_in / name).chmod(0o755)
    printed = "\n".join(dry(script, "--dry-run", *arguments))
    calls = []
    bash = shutil.which("bash")
    assert bash
    for command in ([bash, "-euc", printed], [bash, str(ROOT / "launch" / script), *arguments]):
        record = tmp_path / f"calls{len(calls)}"
        environment = {**os.environ, "PATH": f"{stands_in}{os.pathsep}{os.environ['PATH']}", "CALLS": str(record)}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        calls.append(record.read_text())
    assert tool in calls[0]
    assert calls[0] == calls[1]


ALL = ["local.sh", "slurm.sh", "tpu_pod.sh", "kubernetes.sh"]


@pytest.mark.parametrize("script", ALL)
def test_help_is_the_scripts_own_comment(script: str):
    done = launch(script, "--help")
    assert done.returncode == 0 and "--dry-run" in done.stdout and "set -euo" not in done.stdout


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """`_worker.sh`, with a Python that saves for a while when it is told to end."""
    for name in ("_env.sh", "_worker.sh"):
        (tmp_path / "launch").mkdir(exist_ok=True)
        shutil.copy(ROOT / "launch" / name, tmp_path / "launch" / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\ntrap 'sleep 0.3; echo saved; exit 143' TERM\necho \"$@\"\nwhile true; do sleep 0.1; done\n"
    )
    python.chmod(0o755)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(tmp_path / "launch" / "_worker.sh"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run


def test_a_worker_starts_once_and_stops_when_it_has_saved(worker: Worker, tmp_path: Path):
    try:
        assert worker("start", "--config=a b").returncode == 0
        again = worker("start", "--config=a b")  # one worker of several may have to be started again
        assert again.returncode == 0 and "training runs already" in again.stderr
        other = worker("start", "--config=a", "b")
        assert other.returncode == 1 and "with other arguments: stop it first" in other.stderr
        assert worker("status").stdout == worker("status", "--config=a b").stdout == "running\n"
        assert worker("status", "--config=b").stdout == "running with other arguments\n"
    finally:
        stopped = worker("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "saved\n")
    assert (tmp_path / "train.log").read_text() == "-m hcflow_jax.main --config=a b\nsaved\n"
    assert "no training runs" in worker("stop").stderr
    assert worker("status").stdout == "ended 143\n"


def test_a_process_that_has_the_number_after_a_reboot_is_left_alone(worker: Worker, tmp_path: Path):
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "train.pid").write_text(f"{other.pid}\n")
        try:
            assert worker("status").stdout == "not started\n"
            assert "no training runs" in worker("stop").stderr and other.poll() is None
        finally:
            other.kill()


def test_scripts_are_clean():
    scripts = [str(p.relative_to(ROOT)) for folder in ("launch", "benchmarks") for p in (ROOT / folder).glob("*.sh")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = subprocess.run(["shellcheck", *scripts], cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True)
    assert found.returncode == 0, found.stdout.decode()
