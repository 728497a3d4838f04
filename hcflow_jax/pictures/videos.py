"""Writes videos: mp4 for most uses, and gif for places that accept only pictures."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from hcflow_jax import paths
from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.files import write
from hcflow_jax.pictures.sheets import Images

_QUALITY = ["-crf", "18"]  # quality of H.264: no visible loss


def save_gif(path: str | Path, frames: Images, fps: float = 20) -> None:
    """Writes a gif that repeats without end. Each frame has its own palette.

    Args:
      path: the file to write.
      frames: (N, H, W, 3) uint8.
      fps: frames per second. The duration of a frame is rounded to 1/100 s.

    Raises:
      InputError: the frames are not uint8 (N, H, W, 3), or there are none.
      OSError: the file cannot be written.
    """
    images = [Image.fromarray(frame) for frame in _checked(path, frames)]
    options = dict(save_all=True, append_images=images[1:], duration=round(100 / fps) * 10, loop=0, optimize=False)
    write(paths.local(path), lambda file: images[0].save(file, "GIF", **options))


def save_mp4(path: str | Path, frames: Images, fps: float = 20) -> None:
    """Writes an mp4 that browsers play (H.264, 4:2:0). If a side is odd, its edge pixels are repeated once.

    Args:
      path: the file to write.
      frames: (N, H, W, 3) uint8.
      fps: frames per second.

    Raises:
      MissingExtraError: imageio-ffmpeg is not installed; the message names the extra.
      InputError: the frames are not uint8 (N, H, W, 3), or there are none.
      OSError: ffmpeg failed, or the file cannot be written.
    """
    ffmpeg = check_mp4(path)
    frames = _checked(path, frames)
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), "-i", "-"]
    # ffmpeg seeks in its output to write the index, so it needs a file and not a pipe.
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "video.mp4"
        # The writer of imageio-ffmpeg is not used: it forks, and jax, which has threads, warns about forks.
        command = [ffmpeg, "-v", "error", *given, "-c:v", "libx264", "-pix_fmt", "yuv420p", *_QUALITY, str(made)]
        done = subprocess.run(command, input=frames.tobytes(), capture_output=True)
        if done.returncode:
            raise OSError(f"{path}: ffmpeg failed: {done.stderr.decode(errors='replace').strip()}")
        content = made.read_bytes()
    write(paths.local(path), lambda file: file.write(content))


def check_mp4(path: str | Path) -> str:
    """Finds ffmpeg. Call it before a long computation to check that an mp4 can be written.

    Returns:
      The path of ffmpeg.

    Raises:
      MissingExtraError: imageio-ffmpeg is not installed; the message names the extra.
    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:  # RuntimeError: neither imageio-ffmpeg nor the system has ffmpeg
        raise MissingExtraError(f"{path}: mp4 needs imageio-ffmpeg: pip install 'hcflow_jax[pictures]'") from error


def _checked(path: str | Path, frames: Images) -> Images:
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise InputError(f"{path}: expected uint8 frames (N, H, W, 3), got {frames.dtype} {frames.shape}")
    return frames
