"""The configs that launchers take, and the devices that one host trains on."""

import shlex
import shutil
from pathlib import Path

import pytest
from test_launchers import JOBSET, ROOT, TRAINING, dry, launch, main_of


@pytest.mark.parametrize("script", ["local.sh", "slurm.sh"])
@pytest.mark.parametrize("given", ["demo", "configs/demo.py", "ablation:demo_b", "configs/ablation.py:demo_b"])
def test_a_preset_is_given_on(script: str, given: str, tmp_path: Path):
    arguments = ["--dry-run", "--", f"--config={given}", "--workdir=a"]
    (line,) = [line for line in dry(script, *arguments, cwd=tmp_path) if "hcflow_jax.main" in line]
    assert main_of(line)[0] == f"--config={given}"


@pytest.mark.parametrize("script", ["local.sh", "slurm.sh"])
def test_a_config_may_lie_outside_the_repository(script: str, tmp_path: Path):
    mine = tmp_path / "my configs" / "mine.py"
    mine.parent.mkdir()
    mine.touch()
    for given, where in (("mine.py:wide", mine.parent), (f"{mine}:wide", ROOT)):
        arguments = ["--dry-run", "--", f"--config={given}", "--workdir=a"]
        (line,) = [line for line in dry(script, *arguments, cwd=where) if "hcflow_jax.main" in line]
        assert main_of(line)[0] == f"--config={mine}:wide"


@pytest.mark.parametrize(
    ("file", "found"), [("accel0", "tpu"), ("vfio/0", "tpu"), ("vfio/vfio", "demo"), ("null", "demo")]
)
def test_one_host_trains_on_the_tpu_that_it_has(
    file: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A host with an NVIDIA GPU trains on that."""
    found = "cuda12" if shutil.which("nvidia-smi") else found
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    monkeypatch.setenv("DEVICE_FILES", str(tmp_path))
    *_, install, train = dry("local.sh", "--dry-run", *TRAINING)
    assert shlex.split(install)[-1] == f"source launch/_env.sh && ensure_env {found}"
    platforms = [word for word in shlex.split(train) if word.startswith("JAX_PLATFORMS=")]
    assert platforms == {"cuda12": ["JAX_PLATFORMS=cuda,cpu"], "tpu": [], "demo": ["JAX_PLATFORMS=cpu"]}[found]


@pytest.mark.parametrize(
    ("script", "given"),
    [
        ("local.sh", "/no.py:b"),
        ("slurm.sh", "no:b"),
        ("kubernetes.sh", "/etc/hosts"),
        ("kubernetes.sh", "tests/toy_family.py"),
        ("local.sh", ""),
    ],
)
def test_a_config_that_does_not_exist_is_refused(script: str, given: str):
    """The machines of Kubernetes have only the package and configs/."""
    options = JOBSET if script == "kubernetes.sh" else []
    done = launch(script, *options, "--", "--workdir=/runs/a", f"--config={given}")
    assert done.returncode == 2 and f"--config={given}: no such file or preset in {ROOT}" in done.stderr


def test_a_workdir_is_below_where_the_command_was_given(tmp_path: Path):
    arguments = ["--dry-run", "--", "--config=configs/demo.py", "--workdir=runs/a"]
    for script in ("local.sh", "slurm.sh"):
        (line,) = [line for line in dry(script, *arguments, cwd=tmp_path) if "hcflow_jax.main" in line]
        assert main_of(line)[-1] == f"--workdir={tmp_path}/runs/a"
