"""Targets: accelerators by name, how many of them, and the constants of their data sheets.

This module does not import jax, so that `hcflow plan` reads its arguments quickly.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

from hcflow_jax.errors import InputError

HOST = 8  # GPUs of a host, if the target does not say


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of accelerator.

    Attributes:
      memory: bytes of its memory.
      usable: the share of the memory that a program can have.
      link: bytes/s that a device can send to the others of its host (GPU) or of its slice (TPU), one way.
      network: bytes/s that a GPU can send to other hosts, one way; 0 for TPUs, whose links reach the whole slice.
      source: where these numbers are published.
    """

    memory: float
    usable: float
    link: float
    network: float
    source: str


# launch/ gives JAX this share of a GPU's memory (XLA_PYTHON_CLIENT_MEM_FRACTION); JAX alone takes 0.75.
_SHARE = 0.92
# NVLink 4: 900 GB/s both ways, from tables that are not NVIDIA's. ConnectX-7: one NDR port of 400 Gb/s for each GPU.
_NVLINK, _NDR = 450e9, 50e9
_NVIDIA = (
    "NVLink 4, 450 GB/s each way (tables that are not NVIDIA's); InfiniBand NDR, 50 GB/s a GPU (NVIDIA's guides of "
    "the ConnectX-7 and the DGX H100)"
)
_CLOUD = "Google Cloud's page of the TPU"
CHIPS = {
    "h200": Chip(141e9, _SHARE, _NVLINK, _NDR, _NVIDIA),
    "h100": Chip(80e9, _SHARE, _NVLINK, _NDR, _NVIDIA),
    "v4": Chip(32e9, 1.0, 300e9, 0.0, f"{_CLOUD}: 2,400 Gb/s a chip"),
    "v5e": Chip(16e9, 1.0, 200e9, 0.0, f"{_CLOUD}: 1,600 Gb/s a chip"),
    "v5p": Chip(95e9, 1.0, 600e9, 0.0, f"{_CLOUD}: 4,800 Gb/s a chip"),
    "v6e": Chip(32e9, 1.0, 400e9, 0.0, f"{_CLOUD}: 3,200 Gb/s a chip"),
}
GPUS = ("h200", "h100")
# Clock of the matrix units, Hz: peak FLOP/s of the data sheet / (2 x multipliers of the chip).
TPU_CLOCKS = {"v4": 1.05e9, "v5e": 1.5e9, "v5p": 1.75e9, "v6e": 1.75e9}
TPU_TYPES = {"v4": "v4-8", "v5e": "v5litepod-8", "v5p": "v5p-8", "v6e": "v6e-8"}

# The slices of one plane that Google Cloud has. Those of v4 and v5p have three numbers.
_PLANES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_FLAT = ("v5e", "v6e")

_GPU = re.compile(r"[:x](?:(\d+)x)?(\d+)")
_TPU = re.compile(r":\d+x\d+x\d+")


@dataclasses.dataclass(frozen=True)
class Target:
    """One accelerator or many.

    Attributes:
      given: what the user wrote: h200, h200x8, h200:8, h200:2x8 (two hosts of eight), v5e:16x16, v4:2x2x1, ...

    Raises:
      InputError: there is no such accelerator, or its number is not possible; the message says what is.
    """

    given: str

    def __post_init__(self) -> None:
        """Refuses what is not known."""
        if self.chip not in CHIPS:
            raise InputError(f"{self.given!r} is not known; it must be one of {', '.join(CHIPS)}, {_EXAMPLES}")
        rest = self.given[len(self.chip) :]
        if self.is_gpu and rest and not _GPU.fullmatch(rest):
            raise InputError(f"{self.given!r}: {self.chip} needs a number of devices, {_EXAMPLES}")
        if self.chip in _FLAT and rest[1:] not in _PLANES:
            raise InputError(f"{self.given!r}: {self.chip} needs a topology: {', '.join(_PLANES)}")
        if not self.is_gpu and self.chip not in _FLAT and not _TPU.fullmatch(rest):
            three = f"a topology of three numbers, such as {self.chip}:2x2x1"
            raise InputError(f"{self.given!r}: {self.chip} needs {three}")
        if 0 in self._shape:
            raise InputError(f"{self.given!r} has no devices")

    @property
    def chip(self) -> str:
        """The kind of accelerator: h200, v5e, ..."""
        found = re.match(r"h\d00|v\d[ep]?", self.given)
        return found.group() if found else ""

    @property
    def _shape(self) -> tuple[int, ...]:
        """GPUs: (hosts, GPUs of a host). TPUs: the topology."""
        rest = self.given[len(self.chip) :]
        if not self.is_gpu:
            return tuple(int(n) for n in rest[1:].split("x"))
        found = _GPU.fullmatch(rest) if rest else None
        hosts, count = (found.group(1), int(found.group(2))) if found else (None, 1)
        if hosts:
            return int(hosts), count
        if count <= HOST:
            return 1, count
        if count % HOST:
            raise InputError(f"{self.given!r}: hosts have {HOST} GPUs; write HOSTSxGPUS for others, such as h200:3x4")
        return count // HOST, HOST

    @property
    def name(self) -> str:
        """The name in its short form: h200, h200:8, h200:2x8, v5e:16x16."""
        if not self.is_gpu:
            return self.given
        hosts, each = self._shape
        if hosts > 1 or each > HOST:
            return f"{self.chip}:{hosts}x{each}"
        return f"{self.chip}:{each}" if each > 1 else self.chip

    @property
    def size(self) -> int:
        """The number of devices."""
        return math.prod(self._shape)

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.chip in GPUS

    @property
    def platform(self) -> str:
        """JAX's name of the platform."""
        return "cuda" if self.is_gpu else "tpu"

    @property
    def preset(self) -> str:
        """The preset of `execution` for it."""
        return "gpu" if self.is_gpu else "tpu"

    @property
    def rate(self) -> float:
        """Bytes/s that each device can send while all take part in one sum.

        GPUs of several hosts: the links of a host carry a share of the sum each, so a host sends through all of its
        ports at once (eight rings, docs/scaling.md). A device sends no faster than its link to the other GPUs of the
        host, and no faster than the ports of the host together.
        """
        chip = CHIPS[self.chip]
        if not self.is_gpu or self._shape[0] == 1:
            return chip.link
        each = self._shape[1]
        return min(chip.link, each * chip.network) if each > 1 else chip.network

    def devices(self) -> list[Any]:
        """JAX's descriptions of the devices, which need not be here. The plugin of the platform must be installed."""
        from jax.experimental import topologies

        if not self.is_gpu:
            return topologies.get_topology_desc(platform="tpu", topology_name=self.name).devices
        hosts, each = self._shape
        shape = f"{hosts}x1x{each}"
        text = (Path(__file__).parent / "devices" / f"{self.chip}.txtpb").read_text()
        return topologies.get_topology_desc(
            platform="cuda", topology_name=shape, topology=shape, target_config=text
        ).devices


_EXAMPLES = "such as h200, h200:8, h200:2x8 (two hosts of eight), v5e:16x16, v4:2x2x1"


def environment(target: Target) -> dict[str, str]:
    """The environment variables with which JAX compiles for devices that are not here, and starts none that are."""
    return {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": TPU_TYPES.get(target.chip, ""),
    }
