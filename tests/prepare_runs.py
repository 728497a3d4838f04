"""What the tests of preparing share: a folder of small pictures, the command on it, and what it left."""

import time
from pathlib import Path

import numpy as np
from PIL import Image

from hcflow_jax.data import listing, prepare

COUNT = 30


def make_pictures(tmp_path, monkeypatch) -> Path:
    """A fixture's body: a folder of `COUNT` pictures, "000.png" and so on, and eight of them a shard."""
    monkeypatch.setattr(listing, "_SHARD_IMAGES", 8)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(COUNT):
        pixels = np.random.default_rng(i).integers(0, 256, (12, 14, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return folder


def run_prepare(source: object, out: Path | str, *flags: str, resolution: int = 8, processes: int = 1) -> int:
    """The command on a folder, in this process."""
    arguments = ["--source", f"folder:{source}", "--out", str(out), "--resolution", str(resolution)]
    return prepare.main([*arguments, "--workers", str(processes), *flags])


def files(directory: Path) -> dict[str, bytes]:
    """A directory's files by name."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def beside(out: Path) -> list[str]:
    """What preparing `out` left beside it."""
    return [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}.")]


def one_line(capsys, *words: str) -> None:
    """Standard error has one error, with these words."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines


def until(condition, seconds: float = 60) -> None:
    """Waits for a condition; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
