"""What the launchers refuse, in one line, before anything is paid for."""

import pytest
from test_launchers import ALL, JOBSET, TPU, TRAINING, launch


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
        (["slurm.sh"], ["--time=soon", *TRAINING], "--time=soon: expected MINUTES"),
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
        (["kubernetes.sh"], [*JOBSET, "--hosts=2", "--tpu=t:4x4", *TRAINING], "are 8 chips, not 4x4"),
        (["kubernetes.sh"], [*JOBSET, "--slices=2", *TRAINING], "only TPUs have slices"),
        (["kubernetes.sh"], [*JOBSET, "--queue=A b", *TRAINING], "--queue=A b: expected lower-case letters"),
        (["kubernetes.sh"], [*JOBSET, *TRAINING[:2], "--workdir=/a"], "the volume is mounted at /runs"),
    ],
)
def test_mistakes_give_one_line(scripts: list[str], arguments: list[str], message: str):
    for script in scripts:
        done = launch(script, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ") and message in line
