"""What the launchers refuse, in one line, before anything is paid for."""

import subprocess

import pytest
from test_launchers import ALL, JOBSET, ON_NFS, ROOT, TPU, TRAINING, dry, launch

TRAIN = ["train", *TPU]
TPU_JOB = [*JOBSET, "--hosts=4", "--tpu=tpu-v6e-slice:4x4"]


def in_folder(workdir: str) -> list[str]:
    return [*TRAINING[:2], f"--workdir={workdir}"]


def refused(script: str, *arguments: str) -> str:
    """The line of an error that the user can correct."""
    done = launch(script, *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("scripts", "arguments", "message"),
    [
        (["local.sh", "slurm.sh"], ["--devces=3", *TRAINING], "--devces=3: no such option of launch/"),
        (ALL[2:], ["--devces=3"], "--devces=3: no such option of launch/"),
        (["local.sh", "slurm.sh"], ["--config=configs/demo.py"], "arguments of hcflow_jax.main stand after --"),
        (["local.sh", "slurm.sh"], [], "--workdir=DIR is missing"),
        (["local.sh", "slurm.sh"], ["--", "--workdir=/a"], "--config=FILE is missing"),
        (["slurm.sh"], [*TRAINING[:2], "--workdir=gs://b/a"], "--workdir=gs://b/a: this launcher needs a workdir on"),
        (
            ["tpu_pod.sh"],
            ["train", *TPU, *TRAINING[:2], "--workdir=s3://a"],
            "--workdir=s3://a: not on a machine's",
        ),
        (
            ["local.sh", "slurm.sh"],
            ["--", "--workdir=/a", "--config=configs/no.py"],
            "configs/no.py: no such file or",
        ),
        (["local.sh", "slurm.sh"], [*TRAINING, "--num_processes=2"], "the launcher sets that itself"),
        (["local.sh", "slurm.sh"], [*TRAINING, "stray"], "stray: arguments of hcflow_jax.main are of the form"),
        (["local.sh"], ["--devices=a", *TRAINING], "--devices=a: expected numbers of GPUs"),
        (["local.sh"], ["--memory=2", *TRAINING], "--memory=2: expected a fraction"),
        (["local.sh"], ["--extra=rocm", *TRAINING], "--extra=rocm: expected cuda12"),
        (["slurm.sh"], ["--nodes=0", *TRAINING], "--nodes=0: expected a whole number above 0"),
        (["tpu_pod.sh"], [], "what is to be done? train, status, logs"),
        (["kubernetes.sh"], [], "what is to be done? train, logs"),
        (["tpu_pod.sh"], ["train", "--zone=z", *TRAINING], "--name=NAME is missing"),
        (["tpu_pod.sh"], ["train", "--name=hc", *TRAINING], "--zone=ZONE is missing"),
        (["tpu_pod.sh"], ["train", *TPU, "--nfs=here", *TRAINING], "--nfs=here: expected SERVER:/SHARE"),
        (["tpu_pod.sh"], ["train", *TPU, *TRAINING[:2], "--workdir=a"], "--workdir=a: name its whole path"),
        (["kubernetes.sh"], ["train", *TRAINING], "--image=: expected the name of an image"),
        (["kubernetes.sh"], ["train", "--image=a", *TRAINING], "--claim=CLAIM is missing"),
        (["tpu_pod.sh"], ["train", *TPU, "--bucket=s3://a", *TRAINING], "--bucket=s3://a: expected gs://BUCKET"),
        (["tpu_pod.sh"], ["train", *TPU, *TRAINING[:2], "--workdir=gs://runs"], "name a folder in the bucket"),
        (["kubernetes.sh"], [*JOBSET, "--bucket=/a", *TRAINING], "--bucket=/a: expected gs://BUCKET"),
        (["kubernetes.sh"], [*JOBSET, "--tpu=v5e", *TRAINING], "--tpu=v5e: expected TYPE:TOPOLOGY"),
        (["kubernetes.sh"], [*JOBSET, "--hosts=2", "--tpu=tpu-v6e-slice:4x4", *TRAINING], "are 8 chips, not 4x4"),
        (["kubernetes.sh"], [*JOBSET, "--slices=2", *TRAINING], "only TPUs have slices"),
        (["kubernetes.sh"], [*JOBSET, "--queue=A b", *TRAINING], "--queue=A b: expected lower-case letters"),
        (["kubernetes.sh"], [*JOBSET, *TRAINING[:2], "--workdir=/a"], "the volume is mounted at /runs"),
    ],
)
def test_mistakes_give_one_line(scripts: list[str], arguments: list[str], message: str):
    for script in scripts:
        assert message in refused(script, *arguments)


LONG = "9" * 20


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (
            "tpu_pod.sh",
            [*TRAIN, f"--slices={LONG}"],
            f"--slices={LONG}: expected a whole number above 0, of at most 6",
        ),
        ("tpu_pod.sh", [*TRAIN, "--slices=0"], "--slices=0: expected a whole number above 0"),
        ("tpu_pod.sh", [*TRAIN, "--wait=soon"], "--wait=soon: expected a whole number above 0"),
        ("tpu_pod.sh", ["train", "stop", *TPU, *ON_NFS], "train and stop: name one of them"),
        ("tpu_pod.sh", ["stop", *TPU, "--", "--config=demo"], "--config=demo: stop takes no arguments after --"),
        ("tpu_pod.sh", [*TRAIN, "--name=other"], "--name: given twice"),
        ("tpu_pod.sh", [*TRAIN, "--bucket=gs://research", *ON_NFS], "--nfs, --bucket=gs://research: give one of"),
        ("tpu_pod.sh", [*TRAIN, "--nfs=10.0.0.2:/runs;id"], "--nfs=10.0.0.2:/runs;id: expected SERVER:/SHARE, of"),
        ("tpu_pod.sh", ["stop", "--name=hc", "--zone=us west4 a"], "--zone=us west4 a: expected a zone of a region"),
        ("tpu_pod.sh", ["stop", "--name=hc", "--zone=us-west4"], "--zone=us-west4: expected a zone of a region"),
        ("tpu_pod.sh", [*TRAIN, "--version=nonsense"], "--version=nonsense needs --type=TYPE"),
        ("tpu_pod.sh", [*TRAIN, "--type=v6e-8", "--version=v2-alpha-tpuv5"], "v6e-8 run v2-alpha-tpuv6e"),
        ("tpu_pod.sh", [*TRAIN, "--type=v5p-8", "--version=v2-alpha-tpuv5-lite"], "v5p-8 run v2-alpha-tpuv5"),
        ("tpu_pod.sh", [*TRAIN, "--spot"], "--spot needs --type=TYPE"),
        ("tpu_pod.sh", [*TRAIN, *in_folder("/tmp/x")], "--workdir=/tmp/x: all workers must share it"),
        ("tpu_pod.sh", [*TRAIN, *in_folder("/mnt/hcflow/x")], "--workdir=/mnt/hcflow/x: all workers must share it"),
        ("tpu_pod.sh", [*TRAIN, ON_NFS[0], *in_folder("/mnt/hcflow/../x")], "/mnt/hcflow/../x: all workers must"),
        ("tpu_pod.sh", [*TRAIN, "--shared", "--type=v6e-8", "--spot", *in_folder("/x")], "--shared: new machines do"),
        ("kubernetes.sh", [*JOBSET, "--restarts=-1", *TRAINING], "--restarts=-1: expected a whole number"),
        ("kubernetes.sh", [*JOBSET, "--tpu=tpu-v6e-slice:08x08", *TRAINING], ":08x08: expected TYPE:TOPOLOGY, such"),
        ("kubernetes.sh", [*JOBSET, "--tpu=nonsense:2x2", *TRAINING], "--tpu=nonsense:2x2: expected tpu-v4-podslice"),
        ("kubernetes.sh", [*JOBSET, "--tpu=tpu7x:2x2", *TRAINING], "--tpu=tpu7x:2x2: a topology of tpu7x has 3"),
        ("kubernetes.sh", [*TPU_JOB, "--gpus=4", *TRAINING], "--gpus=4, --tpu=tpu-v6e-slice:4x4: give one of them"),
        ("kubernetes.sh", ["logs", "delete"], "logs and delete: name one of them"),
        ("kubernetes.sh", ["delete", "--", "--config=demo"], "--config=demo: delete takes no arguments after --"),
        ("kubernetes.sh", [*JOBSET, *in_folder("/runs/../a")], "/runs/../a: the volume is mounted at /runs"),
        ("slurm.sh", [f"--nodes={LONG}", *TRAINING], f"--nodes={LONG}: expected a whole number above 0, of at most"),
        ("slurm.sh", ["--requeue", "--requeue", *TRAINING], "--requeue: given twice"),
        ("local.sh", ["--devices=0", "--devices=1", *TRAINING], "--devices: given twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(script: str, arguments: list[str], message: str):
    assert message in refused(script, *arguments)


def function(call: str, *arguments: str) -> list[str]:
    """What a function of the launchers says about each argument, in one shell, because starting one takes time."""
    script = f"source launch/_env.sh; source launch/_launch.sh; source launch/_tpu.sh; for one; do ({call}); done"
    done = subprocess.run(["bash", "-c", script, "_", *arguments], cwd=ROOT, capture_output=True, text=True)
    return (done.stdout + done.stderr).splitlines()


def test_a_type_is_a_slice():
    sizes = {"v4": [8, 64, 128, 384, 8192], "v5p": [8, 12288], "v5litepod": [1, 4, 8, 256], "v6e": [1, 256]}
    assert not function('slice_type "$one"', *(f"{kind}-{size}" for kind in sizes for size in sizes[kind]))
    wrong = ["v4-1", "v4-7", "v4-24", "v4-8320", "v4-0128", f"v4-{LONG}", "v5p-2", "v5p-18048"]
    wrong += ["v5litepod-63", "v5litepod-512", "v5litepod-x-8", "v6e-6", "v6e-", "v6e", "tpu7x-8"]
    said = function('slice_type "$one"', *wrong)
    assert [line.split(": ")[1] for line in said] == [f"--type={kind}" for kind in wrong]
    assert said[0].endswith("v4 has slices of 8, 16, 32, 64 cores, and of multiples of 128 up to 8192")
    assert said[8].endswith("v5litepod has slices of 1, 4, 8, 16, 32, 64, 128 and 256 chips")
    assert "expected v4-, v5litepod-, v5p- or v6e- and a number" in said[-1]


def test_a_bucket_has_a_name_and_a_path():
    right = ["gs://abc", "gs://a.b_c-1/", "gs://research/hc/a..b", "gs://123/x"]
    assert not function('bucket_path "$one" --bucket', *right)
    wrong = ["gs://Research/a", "gs://ab", "gs://a..b", f"gs://{'a' * 64}", "gs://-ab", "gs:///a", "gs:/research/a"]
    wrong += ["/research", "s3://research", "gs://my_bucket/..", "gs://research/../a", "gs://research/a b"]
    said = function('bucket_path "$one" --bucket', *wrong)
    assert [line.removeprefix("error: --bucket=").split(": ")[0] for line in said] == wrong
    assert all("a bucket's name has 3 to 63 lower-case letters, digits, -, _ and single dots" in x for x in said[:6])
    assert said[6].endswith("write gs:// with two slashes")
    assert all(line.endswith("expected gs://BUCKET or gs://BUCKET/NAME") for line in said[7:9])
    assert all(line.endswith(".. cannot be a part of a path in a bucket") for line in said[9:11])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bucket=gs://research/hc", *in_folder("../../x")], "gs://research/hc/../../x: .. cannot be a part of"),
        (["--bucket=gs://research/hc", *in_folder("gs:/research/a")], "write gs:// with two slashes"),
        (in_folder("gs://research/"), "name a folder in the bucket, such as gs://research/runs/a"),
        (in_folder("gs://research//"), "name a folder in the bucket, such as gs://research/runs/a"),
        ([*ON_NFS, "--config.data.path=gs:/research/c"], "--config.data.path=gs:/research/c: write gs:// or s3://"),
    ],
)
def test_a_workdir_is_a_folder_in_a_bucket(arguments: list[str], message: str):
    assert message in refused("tpu_pod.sh", *TRAIN, *arguments)


def test_slurm_proposes_no_bucket():
    assert refused("slurm.sh", *in_folder("s3://a/b")).endswith("not on a machine's file systems; name a folder")
    assert "needs a workdir on the machines' file systems" in refused("slurm.sh", *in_folder("gs:/a/b"))


def test_a_time_limit_leaves_time_to_save():
    for limit in "0", "5", "00:00:00", "05:00", "0:05:00", "0-0":
        assert f"--time={limit}: expected more than 5 minutes" in refused("slurm.sh", f"--time={limit}", *TRAINING)
    for limit in "soon", "99:99:99", "9:60", "1-", LONG:
        assert f"--time={limit}: expected MINUTES, MINUTES:S" in refused("slurm.sh", f"--time={limit}", *TRAINING)


def test_the_time_limits_of_sbatch_are_taken():
    for limit in "6", "08:00:00", "100:00:00", "1-0", "1-12:30", "2-00:00:09":
        assert f"#SBATCH --time={limit}" in dry("slurm.sh", "--dry-run", f"--time={limit}", *TRAINING)
    done = launch("slurm.sh", "--dry-run", "--time=24:00", *TRAINING)
    assert done.returncode == 0 and done.stderr == "== --time=24:00: that is 24 minutes, not hours\n"
