"""Pictures one after another: mp4 for most uses, gif for where only pictures are shown."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from hcflow_jax import paths
from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.files import write
from hcflow_jax.pictures.sheets import Images

_QUALITY = ["-crf", "18"]  # of H.264: seen as without loss


def save_gif(path: str | Path, frames: Images, fps: float = 20) -> None:
    """Writes an animation that starts over at its end, with colours of its own a frame, at once.

    Args:
      path: file to write.
      frames: (N, H, W, 3) uint8.
      fps: frames a second; the format knows hundredths of a second.

    Raises:
      InputError: for anything but uint8 frames.
    """
    images = [Image.fromarray(frame) for frame in _checked(path, frames)]
    options = dict(save_all=True, append_images=images[1:], duration=round(100 / fps) * 10, loop=0, optimize=False)
    write(paths.local(path), lambda file: images[0].save(file, "GIF", **options))


def save_mp4(path: str | Path, frames: Images, fps: float = 20) -> None:
    """Writes a video that browsers play (H.264, 4:2:0), at once; odd sides gain a pixel, the edge's again.

    Args:
      path: file to write.
      frames: (N, H, W, 3) uint8.
      fps: frames a second.

    Raises:
      MissingExtraError: naming the extra, if imageio-ffmpeg is not installed.
      InputError: for anything but uint8 frames.
      OSError: ffmpeg failed.
    """
    ffmpeg = check_mp4(path)
    frames = _checked(path, frames)
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), "-i", "-"]
    # ffmpeg goes back in its file to write the index, so it wants one with a name.
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "video.mp4"
        # Not through imageio-ffmpeg's writer: it forks in a way that jax, with threads of its own, warns of.
        command = [ffmpeg, "-v", "error", *given, "-c:v", "libx264", "-pix_fmt", "yuv420p", *_QUALITY, str(made)]
        done = subprocess.run(command, input=frames.tobytes(), capture_output=True)
        if done.returncode:
            raise OSError(f"{path}: ffmpeg failed: {done.stderr.decode(errors='replace').strip()}")
        content = made.read_bytes()
    write(paths.local(path), lambda file: file.write(content))


def check_mp4(path: str | Path) -> str:
    """Where the ffmpeg that writes an mp4 is: for who wants to know before there are frames.

    Raises:
      MissingExtraError: naming the extra, if imageio-ffmpeg is not installed.
    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:  # the latter: it came without an ffmpeg, and the system has none
        raise MissingExtraError(f"{path}: mp4 needs imageio-ffmpeg: pip install 'hcflow_jax[pictures]'") from error


def _checked(path: str | Path, frames: Images) -> Images:
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise InputError(f"{path}: expected uint8 frames (N, H, W, 3), got {frames.dtype} {frames.shape}")
    return frames
