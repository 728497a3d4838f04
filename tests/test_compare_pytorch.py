"""The comparison with PyTorch: both sides run and are reported; the authors' release is loaded from a clone."""
# pyright: reportMissingImports=false

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import compare_pytorch, release, train_step
from benchmarks.contestant_torch import Theirs
from hcflow_jax.config import presets

pytestmark = pytest.mark.full

# What the release's network is to the loader: names, calls and settings, and nothing of what it computes.
NETWORK = """
import torch
from torch import nn
from hflow.helper import OFFSET  # the clone's own modules are within reach


class MultiStep(nn.Module):
    def __init__(self, resolutions, channels, endblock_settings):
        super().__init__()
        assert endblock_settings.channels == [4, -1] and endblock_settings["inner"].deep == OFFSET
        self.w = nn.Parameter(torch.ones(channels[0], 1, 1))
        self.mask = nn.Parameter(torch.ones(1), requires_grad=False)
        self.resolution, self.noisy, self.calls = resolutions[0], False, []

    def set_noise_active(self, active):
        self.noisy = active

    def loss(self, x):
        self.calls.append((self.training, self.noisy, tuple(x.shape)))
        return (self.w * x).square().sum((1, 2, 3))[:, None]

    def sample_normalized(self, n, std):
        self.calls.append((self.training, self.noisy, n, std))
        return std * self.w * torch.randn(n, 3, self.resolution, self.resolution)
"""
SETTINGS = {
    "MODEL_PARAMETERS": {
        "RESOLUTIONS": [16, 8],
        "CHANNELS": [3, 4],
        "ENDBLOCK_SETTINGS": {"CHANNELS": [4, -1], "INNER": {"DEEP": 7}},
    }
}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here and in the processes that are started, whatever the machine has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def config() -> Path:
    return Path(__file__).with_name("least_config.py")


@pytest.fixture
def clone(tmp_path: Path) -> dict[str, Path]:
    package = tmp_path / "clone" / "hflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import something_that_is_not_there\n")
    (package / "helper.py").write_text("OFFSET = 7\n")
    (package / "network.py").write_text(NETWORK)
    preset = tmp_path / "preset.json"
    preset.write_text(json.dumps(SETTINGS))
    return {"hflow": tmp_path / "clone", "preset": preset}


def theirs(config: Path, what: str, **how: Any) -> Theirs:
    """PyTorch's side, in this process."""
    options = dict(torch="eager", layout="nchw", onednn="on", hflow=None, preset=None) | how
    return Theirs(config=config, batch=8, what=what, calls=2, precision="float32", **options)


def test_both_sides_in_turn(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    compare_pytorch.main([f"--config={config}", "--batch=4", "--what=sample", "--pairs=2", f"--out={out}"])
    result = json.loads(out.read_text())
    assert result == json.loads(capsys.readouterr().out)
    assert len(result["pairs"]) == 2
    for pair in result["pairs"]:
        assert pair["ratio"] == pytest.approx(pair["ours"] / pair["theirs"]) and pair["ours"] > 0
    low, high = result["least_and_greatest_ratio"]
    assert low <= result["median_ratio"] <= high
    for side in ("ours", "theirs"):
        assert result[side]["peak_memory_bytes"] > 1e8 and result[side]["version"] and result[side]["batch"] == 4
    assert result["ours"]["compile_seconds"] > 0 and result["theirs"]["threads"] >= 1
    assert result["environment"]["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("name", compare_pytorch.SIDES)
def test_a_side_that_fails_says_why(name: str, config: Path) -> None:
    options = dict(config=config, batch=None, what="step", calls=1, precision="tf32")
    here, there = multiprocessing.Pipe()
    compare_pytorch._serve(name, options, there)
    assert here.recv() == ("error", "--precision=tf32 needs a GPU")


@pytest.mark.parametrize("what", ["step", "sample"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_twin(what: str, layout: str, config: Path) -> None:
    side = theirs(config, what, layout=layout)
    assert side.block() > 0 and side.about["name"] == "torch_twin" and side.about["onednn"] is True


def test_the_quicker_of_two_convolutions(config: Path) -> None:
    assert theirs(config, "gradient", onednn="auto").about["onednn"] in (True, False)


@pytest.mark.parametrize("what", ["step", "gradient", "sample"])
def test_the_release(what: str, config: Path, clone: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    networks = []
    build = release.build
    monkeypatch.setattr(release, "build", lambda *where: networks.append(build(*where)) or networks[-1])
    side = theirs(config, what, **clone)
    assert side.block() > 0 and side.about["name"] == "the authors' release"
    (network,) = networks
    assert network.calls[0] == (True, True, (4, 3, 16, 16))
    if what == "sample":
        sigma = train_step.load_config(config).sample.sigma
        assert network.calls[-1] == (False, False, 8, sigma)
    else:
        assert set(network.calls) == {(True, True, (4, 3, 16, 16))}
        assert (len(network.calls) - 1) % 4 == 0  # 2 calls a block, 2 micro-batches a call
        assert network.w.grad.abs().sum() > 0
    assert bool((network.w != 1).any()) == (what == "step")


def test_a_clone_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--hflow: .*network\.py does not exist"):
        release.load_network(tmp_path)


def test_settings_without_an_entry_say_so() -> None:
    with pytest.raises(AttributeError, match="no 'layers'"):
        _ = release.Settings({"CHANNELS": 1}).layers


def test_muon_is_compared_as_adam() -> None:
    demo = presets.config("demo").copy_and_resolve_references()
    assert demo.train.optimizer == "muon" and train_step.with_adam(demo).train.optimizer == "adam"
    glow = presets.config("glow_small:demo").copy_and_resolve_references()
    assert train_step.with_adam(glow).train.optimizer == "adamax"
