"""Seals a checkpoint: records its files when all are complete, and compares them before reading."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hcflow_jax.errors import HcflowError
from hcflow_jax.files import replacing

CHECKPOINTS = "checkpoints"  # of a workdir
UNREADABLE = "unreadable"
SEAL = "seal.json"
PARTS = ("state", "config", "metadata")
WEIGHTS = "ema"  # the only part of a checkpoint of weights alone

_SIZES = "sizes.json"  # what older checkpoints have in the seal's stead: sizes alone


class CheckpointError(HcflowError):
    """A checkpoint is missing, incomplete, damaged or of another model; the message names it and says what to do."""


def _describe(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def is_sealed(directory: Path) -> bool:
    """Whether a step has a seal."""
    return (directory / SEAL).exists()


def seal(directory: Path) -> None:
    """Records size and SHA-256 of every file of a step, completely or not at all.

    Args:
      directory: the directory of a complete step. `check` ignores files that are written later.

    Raises:
      OSError: a file cannot be read, or the seal not written.
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

    If a process was killed between committing and sealing, the step has no seal but is complete.

    Raises:
      CheckpointError: naming the file that is missing, cut short or changed.
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
    """{file: {"bytes", "sha256"}}; older checkpoints without the latter, unsealed ones empty."""
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
