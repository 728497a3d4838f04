"""The seal of a checkpoint: it records all files when they are complete. They are compared with it before reading."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hcflow_jax.errors import HcflowError
from hcflow_jax.files import replacing

CHECKPOINTS = "checkpoints"  # the folder of checkpoints in a workdir
UNREADABLE = "unreadable"  # the folder in a workdir for checkpoints that cannot be read
SEAL = "seal.json"
PARTS = ("state", "config", "metadata")
WEIGHTS = "ema"  # the only part of the state in a checkpoint that has only weights

_SIZES = "sizes.json"  # older checkpoints have it instead of a seal; it has only sizes


class CheckpointError(HcflowError):
    """A checkpoint is missing, incomplete, damaged or of another model. The message names it and says what to do."""


def _describe(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def is_sealed(directory: Path) -> bool:
    """Whether the directory of a step has a seal."""
    return (directory / SEAL).exists()


def seal(directory: Path) -> None:
    """Writes the seal: size and SHA-256 of every file of a step. It is written completely or not at all.

    Args:
      directory: the directory of a complete step. `check` ignores files that are written later.

    Raises:
      OSError: a file cannot be read, or the seal cannot be written.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file() and not _is_seal(path))
    described = {str(file.relative_to(directory)): _describe(file) for file in files}
    with replacing(directory / SEAL) as partial:
        partial.write_text(json.dumps(described, indent=1))


def _is_seal(file: Path) -> bool:
    """Whether a file is the seal, or an unfinished seal of a process that was killed."""
    return file.name.lstrip(".").startswith(SEAL)


def check(directory: Path) -> None:
    """Compares the files of a step with its seal. Without a seal, it only checks that the parts exist.

    A step without a seal can be complete: the process may have been killed just before it wrote the seal.

    Raises:
      CheckpointError: a file is missing, cut short or changed; the message names it.
    """
    for part in PARTS:
        if not (directory / part).is_dir():
            raise CheckpointError(f"{directory / part} is missing: copy the step again, or use another one")
    for name, expected in _sealed(directory).items():
        problem = _problem(directory / name, expected)
        if problem:
            raise CheckpointError(f"{directory / name} {problem}: copy the step again, or use another")


def _problem(file: Path, expected: Mapping[str, Any]) -> str | None:
    try:
        size = file.stat().st_size
        if size != expected["bytes"]:
            return f"has {size}, not its {expected['bytes']} bytes"
        if "sha256" in expected and _describe(file) != expected:
            return "is damaged (its SHA-256 is another)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None


def _sealed(directory: Path) -> dict[str, dict[str, Any]]:
    """The contents of the seal, {file: {"bytes", "sha256"}}.

    Older checkpoints have no "sha256". Without a seal, it is empty.
    """
    file = directory / SEAL
    if not file.exists():
        file = directory / _SIZES
    try:
        stored = json.loads(file.read_text())
        return {name: value if isinstance(value, dict) else {"bytes": value} for name, value in stored.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}): copy the step again, or use another") from error
