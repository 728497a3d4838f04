"""The configs that launchers take, and the devices that one host trains on."""

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


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="a host with an NVIDIA GPU trains on that")
@pytest.mark.parametrize(
    ("vendor", "device", "tpu"), [("1ae0", "0063", True), ("1ae0", "0042", False), ("10de", "0063", False)]
)
def test_one_host_with_a_tpu_trains_on_it(
    vendor: str, device: str, tpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The host also has Google's network card (0042)."""
    for slot, ids in enumerate((("1ae0", "0042"), (vendor, device))):
        (tmp_path / str(slot)).mkdir()
        for name, value in zip(("vendor", "device"), ids, strict=True):
            (tmp_path / str(slot) / name).write_text(f"0x{value}\n")
    monkeypatch.setenv("PCI_DEVICES", str(tmp_path))
    lines = dry("local.sh", "--dry-run", *TRAINING)
    assert f"ensure_env {'tpu' if tpu else 'demo'}" in lines[-2]
    assert ("JAX_PLATFORMS=cpu" in lines[-1]) is not tpu


@pytest.mark.parametrize(
    ("script", "given"),
    [("local.sh", "/no.py:b"), ("slurm.sh", "no:b"), ("kubernetes.sh", "/etc/hosts"), ("local.sh", "")],
)
def test_a_config_that_does_not_exist_is_refused(script: str, given: str):
    """The machines of Kubernetes have only the repository."""
    options = JOBSET if script == "kubernetes.sh" else []
    done = launch(script, *options, "--", "--workdir=/runs/a", f"--config={given}")
    assert done.returncode == 2 and f"--config={given}: no such file or preset in {ROOT}" in done.stderr


def test_a_workdir_is_below_where_the_command_was_given(tmp_path: Path):
    arguments = ["--dry-run", "--", "--config=configs/demo.py", "--workdir=runs/a"]
    for script in ("local.sh", "slurm.sh"):
        (line,) = [line for line in dry(script, *arguments, cwd=tmp_path) if "hcflow_jax.main" in line]
        assert main_of(line)[-1] == f"--workdir={tmp_path}/runs/a"
