"""Finds and reads the file of FID's Inception weights, without running any code from the file.

Nothing is downloaded. The file is `pt_inception-2015-12-05-6726825d.pth`, which FID evaluations in PyTorch use. It
may have any name, and may be in any of PyTorch's formats or in safetensors. It is recognised by its tensors.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import inception
from hcflow_jax.interop import state_dict

VARIABLE = "HCFLOW_INCEPTION"  # environment variable that contains the path of the file
CLASSES = 1008  # classes of the network
WANTED = (
    "the weights of FID's Inception network, pt_inception-2015-12-05-6726825d.pth of pytorch-fid or torch-fidelity"
)


@dataclasses.dataclass(frozen=True)
class InceptionWeights:
    """The weights that were read.

    Attributes:
      arrays: the weights that `inception.features` takes.
      sha256: the SHA-256 of the file.
      file: the path of the file.
    """

    arrays: dict[str, np.ndarray]
    sha256: str
    file: Path


def find(path: str | Path | None = None) -> Path | None:
    """The path of the file: `path` if given, else the value of the environment variable, else None."""
    named = path or os.environ.get(VARIABLE)
    return Path(named) if named else None


def read(path: str | Path) -> InceptionWeights:
    """Reads a file of weights.

    Raises:
      InputError: the file cannot be read, is damaged, or contains another network's weights. The message names the
        file and the one that is expected.
    """
    path = Path(path)
    flat = state_dict.read(path)
    _check(path, flat)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return InceptionWeights(inception.arrange(flat), digest, path)


def shapes() -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of the file, by name. Kernels are (out, in, kh, kw). Batch counters are left out."""
    found: dict[str, tuple[int, ...]] = {}
    for name, width_in, width_out, height, width in _units():
        found[f"{name}.conv.weight"] = (width_out, width_in, height, width)
        found |= {f"{name}.bn.{part}": (width_out,) for part in inception.NORM}
    return found | {"fc.weight": (CLASSES, inception.DIMS), "fc.bias": (CLASSES,)}


def _check(path: Path, flat: Mapping[str, np.ndarray]) -> None:
    """Raises InputError if `flat` does not contain the expected weights."""
    head = flat["fc.weight"].shape if "fc.weight" in flat else ()
    if any(name.startswith("AuxLogits.") for name in flat) or head == (1000, inception.DIMS):
        raise InputError(
            f"{path}: holds torchvision's Inception of 1,000 classes, whose distances are not FIDs; expected {WANTED}"
        )
    for name, shape in shapes().items():
        if name not in flat:
            raise InputError(f"{path}: has no tensor {name!r}, so it belongs to another network; expected {WANTED}")
        if flat[name].shape != shape:
            raise InputError(f"{path}: {name} has shape {flat[name].shape}, expected {shape} of {WANTED}")
        if not np.isfinite(flat[name]).all():
            raise InputError(f"{path}: {name} has values that are not finite; fetch the file again")


_Unit = tuple[str, int, int, int, int]  # name, input channels, output channels, height and width of the kernel


def _units() -> list[_Unit]:
    stem = [("1a_3x3", 3, 32, 3), ("2a_3x3", 32, 32, 3), ("2b_3x3", 32, 64, 3), ("3b_1x1", 64, 80, 1)]
    units = [(f"Conv2d_{name}", a, b, k, k) for name, a, b, k in [*stem, ("4a_3x3", 80, 192, 3)]]

    def block(name: str, *own: tuple[str, int, int, int, int]) -> None:
        units.extend((f"Mixed_{name}.{unit}", *rest) for unit, *rest in own)  # pyright: ignore[reportArgumentType]

    def threes(a: int) -> tuple[_Unit, ...]:
        return (
            ("branch3x3dbl_1", a, 64, 1, 1),
            ("branch3x3dbl_2", 64, 96, 3, 3),
            ("branch3x3dbl_3", 96, 96, 3, 3),
        )

    for name, a, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        fives = (("branch5x5_1", a, 48, 1, 1), ("branch5x5_2", 48, 64, 5, 5))
        block(name, ("branch1x1", a, 64, 1, 1), *fives, *threes(a), ("branch_pool", a, pooled, 1, 1))
    block("6a", ("branch3x3", 288, 384, 3, 3), *threes(288))
    for name, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        block(
            name,
            ("branch1x1", 768, 192, 1, 1),
            ("branch7x7_1", 768, c, 1, 1),
            ("branch7x7_2", c, c, 1, 7),
            ("branch7x7_3", c, 192, 7, 1),
            ("branch7x7dbl_1", 768, c, 1, 1),
            ("branch7x7dbl_2", c, c, 7, 1),
            ("branch7x7dbl_3", c, c, 1, 7),
            ("branch7x7dbl_4", c, c, 7, 1),
            ("branch7x7dbl_5", c, 192, 1, 7),
            ("branch_pool", 768, 192, 1, 1),
        )
    block(
        "7a",
        ("branch3x3_1", 768, 192, 1, 1),
        ("branch3x3_2", 192, 320, 3, 3),
        ("branch7x7x3_1", 768, 192, 1, 1),
        ("branch7x7x3_2", 192, 192, 1, 7),
        ("branch7x7x3_3", 192, 192, 7, 1),
        ("branch7x7x3_4", 192, 192, 3, 3),
    )
    for name, a in (("7b", 1280), ("7c", 2048)):
        block(
            name,
            ("branch1x1", a, 320, 1, 1),
            ("branch3x3_1", a, 384, 1, 1),
            ("branch3x3_2a", 384, 384, 1, 3),
            ("branch3x3_2b", 384, 384, 3, 1),
            ("branch3x3dbl_1", a, 448, 1, 1),
            ("branch3x3dbl_2", 448, 384, 3, 3),
            ("branch3x3dbl_3a", 384, 384, 1, 3),
            ("branch3x3dbl_3b", 384, 384, 3, 1),
            ("branch_pool", a, 192, 1, 1),
        )
    return units
