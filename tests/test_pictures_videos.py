"""Strips and videos: what is written is what is shown, in its order."""

import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from hcflow_jax import pictures


def _frames(count: int, height: int = 32, width: int = 32) -> np.ndarray:
    """A square that goes from the left to the right over a ground that brightens."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    for i, frame in enumerate(frames):
        frame[:] = 20 * i
        frame[8:16, 4 * i : 4 * i + 8] = (255, 0, 0)
    return frames


def _read_mp4(path, height, width):
    """What ffmpeg says of it, and its frames. (imageio-ffmpeg's own reader leaves its pipes open.)"""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return done.stderr.decode(), np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def test_a_strip_is_one_row():
    frames = _frames(5)
    sheet = pictures.strip(frames, scale=2, gap=2)
    assert sheet.shape == (64, 5 * 66 - 2, 3)
    np.testing.assert_array_equal(sheet[::2, 2 * 66 : 3 * 66 - 2 : 2], frames[2])
    with pytest.raises(ValueError, match="expected uint8 images"):
        pictures.strip(frames[:0])


def test_a_gif_has_every_frame_and_its_time(tmp_path):
    path, frames = tmp_path / "a" / "b.gif", _frames(6)
    pictures.save_gif(path, frames, fps=20)
    with Image.open(path) as image:
        assert (image.n_frames, image.info["duration"], image.info["loop"]) == (6, 50, 0)  # pyright: ignore
        for i, frame in enumerate(frames):
            image.seek(i)
            shown = np.asarray(image.convert("RGB")).astype(int)
            assert np.abs(shown - frame).max() <= 4
    assert [p.name for p in path.parent.iterdir()] == ["b.gif"]


@pytest.mark.parametrize("size", [(32, 32), (33, 31)])
def test_an_mp4_has_every_frame_in_even_sides(tmp_path, size):
    path, frames = tmp_path / "a" / "b.mp4", _frames(6, *size)
    pictures.save_mp4(path, frames, fps=10)
    about, shown = _read_mp4(path, size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert "h264" in about and "yuv420p" in about and " 10 fps" in about
    assert len(shown) == 6
    assert np.abs(shown[:, 24:32, :16].astype(int) - frames[:, 24:32, :16]).max() <= 6
    assert [p.name for p in path.parent.iterdir()] == ["b.mp4"]


@pytest.mark.parametrize("save", [pictures.save_gif, pictures.save_mp4])
@pytest.mark.parametrize("bad", [np.zeros((2, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8), _frames(0)])
def test_what_is_no_frames_is_refused(tmp_path, save, bad):
    with pytest.raises(ValueError, match="x: expected uint8 frames"):
        save(tmp_path / "x", bad)
    assert not list(tmp_path.iterdir())


def test_mp4_without_ffmpeg_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"b.mp4: .* pip install 'hcflow_jax\[pictures\]'"):
        pictures.save_mp4(tmp_path / "b.mp4", _frames(2))
