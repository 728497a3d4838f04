"""The kernel roofline: the least time that the kernels of a compiled program can take on a device.

Every kernel reads its operands from memory, writes its results to it and multiplies on the tensor cores; it takes no
less than the longer of the two. The sum over kernels is a lower bound of this program, not of the model: it falls
when a kernel boundary, a copy or a padded channel goes away.
"""

import dataclasses
import math
import re
from collections import Counter, defaultdict
from typing import Any

from hcflow_jax.planning.hlo import Instruction, Module, Shape

FREE = frozenset(
    ("parameter", "constant", "bitcast", "tuple", "get-tuple-element", "while", "conditional", "call", "after-all")
    + ("opt-barrier", "partition-id", "replica-id", "async-start", "async-update", "async-done", "add-dependency")
)
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all", "ragged-all-to-all")
COPIES = frozenset(("copy", "transpose", "reshape", "copy-start", "slice", "concatenate", "pad", "convert"))
KINDS = ("convolution", "matmul", "fusion", "copy", "collective", "other")


@dataclasses.dataclass(frozen=True)
class Device:
    """What a kernel is held against: bytes/s of memory, and FLOP/s of matrix units by what they multiply."""

    bandwidth: float
    bf16: float
    tf32: float
    float32: float  # outside the tensor cores: precision "highest"


# Bandwidth and tensor-core rates measured on such cards (the H100's bandwidth by its ratio to the H200's in the data
# sheets); float32 outside the tensor cores from the data sheet.
GPUS = {
    "h200": Device(bandwidth=4.3e12, bf16=790e12, tf32=395e12, float32=67e12),
    "h100": Device(bandwidth=3.0e12, bf16=790e12, tf32=395e12, float32=67e12),
}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel of a program.

    Attributes:
      kind: one of KINDS.
      name: XLA's.
      times: how often it runs in one call of the program.
      bytes, flops, seconds: of one run.
      float32_bytes: of those it writes, how many are float32.
      source: file:line outside the layers, and the innermost names it was traced under.
      line: the innermost file:line; "" if XLA made it for no line, as copies.
    """

    kind: str
    name: str
    times: int
    bytes: int
    flops: float
    seconds: float
    float32_bytes: int
    source: str
    line: str


def kernels(module: Module, device: Device) -> list[Kernel]:
    """Every kernel of the scheduled program, those of a loop's body once with their number of trips."""
    found = []
    for computation, instruction, times in module.scheduled():
        if instruction.opcode in FREE or instruction.opcode.endswith("-done"):
            continue
        reader = _Reader(module, computation, instruction)
        kind, flops, rate = reader.kind(), reader.flops(), reader.rate(device)
        moved = reader.bytes()
        found.append(
            Kernel(
                kind=kind,
                name=instruction.name,
                times=times,
                bytes=moved,
                flops=flops,
                seconds=max(moved / device.bandwidth, flops / rate),
                float32_bytes=sum(s.bytes for s in instruction.shapes if s.dtype == "f32"),
                source=source(module, instruction),
                line=module.source(instruction).split("/")[-1],
            )
        )
    return found


def summarise(found: list[Kernel], images: int, dearest: int = 20) -> dict[str, Any]:
    """Totals an image, by kind, and the dearest kernels; like kernels of one source line are joined.

    `lines` are the source lines with the most kernels, and `under_1us` is the number of kernels that take less.
    """

    def total(rows: list[Kernel], what: str) -> float:
        return sum(getattr(row, what) * row.times for row in rows)

    by_kind = {}
    for kind in KINDS:
        rows = [k for k in found if k.kind == kind]
        by_kind[kind] = {
            "kernels": sum(k.times for k in rows),
            "ms_per_image": 1e3 * total(rows, "seconds") / images,
            "megabytes_per_image": total(rows, "bytes") / images / 1e6,
            "gflop_per_image": total(rows, "flops") / images / 1e9,
        }
    cost: defaultdict[tuple[str, str], float] = defaultdict(float)
    runs: Counter[tuple[str, str]] = Counter()
    by_line: Counter[str] = Counter()
    of_line: defaultdict[str, float] = defaultdict(float)
    for k in found:
        by_line[k.line] += k.times
        of_line[k.line] += k.seconds * k.times
        cost[k.kind, k.source] += k.seconds * k.times
        runs[k.kind, k.source] += k.times
    return {
        "ms_per_image": 1e3 * total(found, "seconds") / images,
        "kernels": sum(k.times for k in found),
        "under_1us": sum(k.times for k in found if k.seconds < 1e-6),
        "gflop_per_image": total(found, "flops") / images / 1e9,
        "megabytes_per_image": total(found, "bytes") / images / 1e6,
        "float32_megabytes_written_per_image": total(found, "float32_bytes") / images / 1e6,
        "by_kind": by_kind,
        "dearest": [
            {"ms_per_image": 1e3 * seconds / images, "kernels": runs[key], "kind": key[0], "source": key[1]}
            for key, seconds in sorted(cost.items(), key=lambda item: -item[1])[:dearest]
        ],
        "lines": [
            {"kernels": count, "ms_per_image": 1e3 * of_line[line] / images, "line": line}
            for line, count in by_line.most_common(2 * dearest)
        ],
    }


def source(module: Module, instruction: Instruction) -> str:
    """file:line, the innermost names it was traced under, and what XLA made of it."""
    place = module.source(instruction, skip=("convolution.py", "layers.py", "resample.py"))
    scope = [name for name in re.split(r"/(?![^(]*\))", instruction.scope) if name][-3:]
    return f"{place.split('/')[-1]} {'/'.join(scope)} {instruction.name.split('.')[0]}".strip()


class _Reader:
    """What one instruction moves and multiplies."""

    def __init__(self, module: Module, computation: str, instruction: Instruction):
        self._module, self._i = module, instruction
        self._outer = module.by_name[computation]
        called = instruction.attribute("calls") if instruction.opcode == "fusion" else None
        self._body = module.computations.get(called or "", ())
        self._inner = list(self._everything(self._body))

    def _everything(self, body: tuple[Instruction, ...]) -> Any:
        """(instruction, its neighbours by name), nested fusions included."""
        names = {i.name: i for i in body}
        for each in body:
            yield each, names
            if each.opcode == "fusion" and (called := each.attribute("calls")):
                yield from self._everything(self._module.computations.get(called, ()))

    def kind(self) -> str:
        opcode = self._i.opcode
        if opcode.removesuffix("-start") in COLLECTIVES:
            return "collective"
        inside = {each.opcode for each, _ in self._inner} | {opcode}
        if "convolution" in inside or self._i.target.startswith("__cudnn$conv"):
            return "convolution"
        if "dot" in inside or self._i.target.startswith("__cublas"):
            return "matmul"
        if opcode in COPIES:
            return "copy"
        if opcode == "fusion":
            working = inside - FREE - COPIES - {"fusion", "broadcast", "dynamic-slice", "dynamic-update-slice"}
            return "fusion" if working else "copy"
        return "other" if opcode == "custom-call" else "fusion"

    def flops(self) -> float:
        """2 x multiply-adds of convolutions and matrix products."""
        if self._i.target.startswith("__cudnn$conv"):
            return self._cudnn()
        if self._i.target.startswith("__cublas"):
            return self._cublas()
        pairs = self._inner or [(self._i, self._outer)]
        return sum(_dot(i, names) + _convolution(i, names) for i, names in pairs)

    def rate(self, device: Device) -> float:
        """FLOP/s of what this kernel multiplies."""
        pairs = self._inner or [(self._i, self._outer)]
        work = [(i, names) for i, names in pairs if i.opcode in ("dot", "convolution", "custom-call")]
        for each, names in work:
            operands = [names[name].shapes[0].dtype for name in each.operands[:2] if names.get(name)]
            if "f32" not in operands:
                continue
            return device.float32 if re.search(r"highest|HIGHEST", each.rest) else device.tf32
        return device.bf16

    def bytes(self) -> int:
        """Operands and results; of a stack that is only sliced or updated in a loop, the slice."""
        read = sum(self._read(at, name) for at, name in enumerate(dict.fromkeys(self._i.operands)))
        return read + self._written()

    def _read(self, at: int, name: str) -> int:
        whole = self._outer[name].bytes if name in self._outer else 0
        if self._i.opcode == "dynamic-slice":
            return self._i.bytes if at == 0 else whole
        if self._i.opcode == "dynamic-update-slice":
            return 0 if at == 0 else whole
        parameters = [i for i in self._body if i.opcode == "parameter" and i.arguments == str(at)]
        if not parameters or len(dict.fromkeys(self._i.operands)) != len(self._i.operands):
            return whole
        users = [i for i in self._body if parameters[0].name in i.operands]
        slicing = all(i.opcode in ("dynamic-slice", "dynamic-update-slice") for i in users)
        if users and slicing and all(i.operands[0] == parameters[0].name for i in users):
            return min(whole, sum(i.bytes for i in users if i.opcode == "dynamic-slice"))
        return whole

    def _written(self) -> int:
        inner = {i.name: i for i in self._body}
        roots = [i for i in self._body if i.root] or [self._i]
        if roots[0].opcode == "tuple":
            roots = [inner[name] for name in roots[0].operands]
        return sum(self._result(root, inner or self._outer) for root in roots)

    def _result(self, root: Instruction, names: dict[str, Instruction]) -> int:
        while root.opcode == "bitcast" and root.operands[0] in names:
            root = names[root.operands[0]]
        if root.opcode == "dynamic-update-slice" and root.operands[1] in names:
            return names[root.operands[1]].bytes
        return root.bytes

    def _cudnn(self) -> float:
        """2 |y| |w| / c_out, in the forward convolution's terms: y its output, w its kernel."""
        operands = [self._outer[name].shapes[0] for name in self._i.operands]
        result = self._i.shapes[0]
        if "BackwardFilter" in self._i.target:
            y, w = operands[1], result
        elif "BackwardInput" in self._i.target:
            y, w = operands[0], operands[1]
        else:
            y, w = result, operands[1]
        labels = re.search(r"dim_labels=\w+_\w+->(\w+)", self._i.rest)
        channels = y.dims[labels.group(1).index("f")] if labels else y.dims[-1]
        return 2.0 * y.elements * w.elements / channels

    def _cublas(self) -> float:
        lhs = self._outer[self._i.operands[0]].shapes[0]
        return 2.0 * self._i.shapes[0].elements * _depth(lhs, r'"lhs_contracting_dimensions":\[([^\]]*)\]', self._i)


def _depth(lhs: Shape, pattern: str, instruction: Instruction) -> int:
    found = re.search(pattern, instruction.rest)
    dims = [int(d) for d in re.findall(r"\d+", found.group(1))] if found else []
    return math.prod(lhs.dims[d] for d in dims)


def _dot(i: Instruction, names: dict[str, Instruction]) -> float:
    if i.opcode != "dot":
        return 0
    lhs = names[i.operands[0]].shapes[0]
    return 2.0 * i.shapes[0].elements * _depth(lhs, r"lhs_contracting_dims=\{([\d,]*)\}", i)


def _convolution(i: Instruction, names: dict[str, Instruction]) -> float:
    if i.opcode != "convolution":
        return 0
    kernel = names[i.operands[1]].shapes[0]
    labels = re.search(r"dim_labels=\w+_(\w+)->", i.rest)
    out = kernel.dims[labels.group(1).index("o")] if labels else kernel.dims[-1]
    return 2.0 * i.shapes[0].elements * kernel.elements / out
