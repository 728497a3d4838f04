"""Pictures one after another: mp4 for most uses, gif for where only pictures are shown."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hcflow_jax.pictures.files import write
from hcflow_jax.pictures.sheets import Images

_QUALITY = ["-crf", "18"]  # of H.264: seen as without loss


def save_gif(path: str | Path, frames: Images, fps: float = 20) -> None:
    """Writes an animation that starts over at its end, with colours of its own a frame, at once.

    Args:
      path: file to write.
      frames: (N, H, W, 3) uint8.
      fps: frames a second; the format knows hundredths of a second.

    Raises:
      ValueError: for anything but uint8 frames.
    """
    images = [Image.fromarray(frame) for frame in _checked(path, frames)]
    options = dict(save_all=True, append_images=images[1:], duration=round(100 / fps) * 10, loop=0, optimize=False)
    write(Path(path), lambda file: images[0].save(file, "GIF", **options))


def save_mp4(path: str | Path, frames: Images, fps: float = 20) -> None:
    """Writes a video that browsers play (H.264, 4:2:0), at once; odd sides gain a pixel, the edge's again.

    Args:
      path: file to write.
      frames: (N, H, W, 3) uint8.
      fps: frames a second.

    Raises:
      ImportError: naming the extra, if imageio-ffmpeg is not installed.
      ValueError: for anything but uint8 frames.
      OSError: ffmpeg failed.
    """
    write_frames = check_mp4(path)
    frames = _checked(path, frames)
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    # ffmpeg goes back in its file to write the index, so it wants one with a name.
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "video.mp4"
        size = frames.shape[2], frames.shape[1]
        options = dict(quality=None, codec="libx264", macro_block_size=2, output_params=_QUALITY)
        video = write_frames(str(made), size, fps=fps, ffmpeg_log_level="error", **options)
        video.send(None)
        try:
            for frame in frames:
                video.send(np.ascontiguousarray(frame))
        finally:
            video.close()
        if not made.exists():
            raise OSError(f"{path}: ffmpeg wrote nothing")
        content = made.read_bytes()
    write(Path(path), lambda file: file.write(content))


def check_mp4(path: str | Path) -> Callable[..., Any]:
    """What writes an mp4, if it is there: for who wants to know before there are frames.

    Raises:
      ImportError: naming the extra, if imageio-ffmpeg is not installed.
    """
    try:
        from imageio_ffmpeg import write_frames
    except ImportError as error:
        raise ImportError(f"{path}: mp4 needs imageio-ffmpeg: pip install 'hcflow_jax[pictures]'") from error
    return write_frames


def _checked(path: str | Path, frames: Images) -> Images:
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise ValueError(f"{path}: expected uint8 frames (N, H, W, 3), got {frames.dtype} {frames.shape}")
    return frames
