"""The seal of a checkpoint: it records all files when they are complete. They are compared with it before reading."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hcflow_jax import buckets
from hcflow_jax.errors import HcflowError
from hcflow_jax.layout import SEAL
from hcflow_jax.paths import Place

PARTS = ("state", "config", "metadata")
WEIGHTS = "ema"  # the only part of the state in a checkpoint that has only weights

_SIZES = "sizes.json"  # older checkpoints have it instead of a seal; it has only sizes


class CheckpointError(HcflowError):
    """A checkpoint is missing, incomplete, damaged or of another model. The message names it and says what to do."""


def is_sealed(directory: Place) -> bool:
    """Whether the directory of a step has a seal."""
    return (directory / SEAL).exists()


def seal(directory: Place) -> None:
    """Writes the seal of a step, completely or not at all.

    It has the size of every file, and SHA-256. In a bucket it has the checksums that the store keeps of each object
    instead, CRC-32C and MD5, so that nothing is read again.

    Args:
      directory: the directory of a complete step. `check` ignores files that are written later.

    Raises:
      OSError: a file cannot be read, or the seal cannot be written.
    """
    described = {name: facts for name, facts in sorted(_files(directory).items()) if not _is_seal(name)}
    if isinstance(directory, Path):
        described = {name: facts | {"sha256": _digest(directory / name)} for name, facts in described.items()}
    text = json.dumps(described, indent=1)
    buckets.write(directory / SEAL, lambda file: file.write(text.encode()))


def _files(directory: Place) -> dict[str, dict[str, Any]]:
    """The files of a step: {name: {"bytes", ...}}, with the checksums that are known without reading them."""
    if isinstance(directory, Path):
        found = (path for path in directory.rglob("*") if path.is_file())
        return {str(path.relative_to(directory)): {"bytes": path.stat().st_size} for path in found}
    return {
        name: {"bytes": entry.size, "crc32c": entry.crc32c, "md5": entry.md5}
        for name, entry in buckets.listing(directory).items()
    }


def _digest(file: Place, kind: str = "sha256") -> str:
    with file.open("rb") as content:
        digest = hashlib.new(kind, usedforsecurity=False)
        while block := content.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _is_seal(name: str) -> bool:
    """Whether a file is the seal, or an unfinished seal of a process that was killed."""
    return name.rpartition("/")[2].lstrip(".").startswith(SEAL)


def check(directory: Place) -> None:
    """Compares the files of a step with its seal. Without a seal, it only checks that the parts exist.

    A step without a seal can be complete: the process may have been killed just before it wrote the seal.

    Raises:
      CheckpointError: a file is missing, cut short or changed; the message names it.
      StoreError: the store of the bucket refuses or does not answer.
    """
    found = None if isinstance(directory, Path) else _files(directory)
    for part in PARTS:
        there = (directory / part).is_dir() if found is None else any(name.startswith(f"{part}/") for name in found)
        if not there:
            raise CheckpointError(f"{directory / part} is missing: copy the step again, or use another one")
    for name, expected in _sealed(directory).items():
        problem = _problem(directory / name, expected, found.get(name, {}) if found else {})
        if problem:
            raise CheckpointError(f"{directory / name} {problem}: copy the step again, or use another")


def _problem(file: Place, expected: Mapping[str, Any], stored: Mapping[str, Any]) -> str | None:
    """What is wrong with a file; None if nothing is.

    Args:
      file: its path.
      expected: what the seal says.
      stored: what the store of its bucket says; empty for a missing object, and for a file on this machine.
    """
    try:
        size = file.stat().st_size if isinstance(file, Path) else stored.get("bytes")
        if size is None:
            return "is missing"
        if size != expected["bytes"]:
            return f"has {size}, not its {expected['bytes']} bytes"
        same = [
            stored[kind] == expected[kind] for kind in ("crc32c", "md5") if stored.get(kind) and expected.get(kind)
        ]
        if same:
            return None if all(same) else "is damaged (its checksum is another)"
        for kind in ("sha256", "md5"):  # a step that was copied from a bucket to this machine has only MD5
            if expected.get(kind):
                named = {"sha256": "SHA-256", "md5": "MD5"}[kind]
                return None if _digest(file, kind) == expected[kind] else f"is damaged (its {named} is another)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None


def _sealed(directory: Place) -> dict[str, dict[str, Any]]:
    """The contents of the seal, {file: {"bytes", and a checksum}}.

    Older checkpoints have no checksum. Without a seal, it is empty.
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
