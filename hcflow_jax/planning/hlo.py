"""Reads the text of an optimised XLA program: its computations, their instructions, and where each came from."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

BYTES = {"pred": 1, "token": 0, "opaque": 0, "c64": 8, "c128": 16}


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array: dtype as XLA writes it, dims."""

    dtype: str
    dims: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Size without padding."""
        if self.dtype in BYTES:
            return BYTES[self.dtype] * self.elements
        # e.g. f32, bf16, s4, f8e4m3fn: the first number is the width
        width = re.search(r"\d+", self.dtype)
        return math.ceil(int(width.group()) * self.elements / 8) if width else 0


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      shapes: of the result; several where it is a tuple.
      arguments: the text between the parentheses: a constant's value, a parameter's number.
      operands: names of the instructions it reads.
      rest: the attributes after the operands.
    """

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    arguments: str
    operands: tuple[str, ...]
    rest: str
    root: bool

    @property
    def bytes(self) -> int:
        """Size of the result."""
        return sum(shape.bytes for shape in self.shapes)

    def attribute(self, name: str) -> str | None:
        """The computation or word that `name=` gives, without its %."""
        found = re.search(rf"[\s,]{name}=%?([\w.\-$]+)", self.rest)
        return found.group(1) if found else None

    @property
    def target(self) -> str:
        """custom_call_target, or ""."""
        found = re.search(r'custom_call_target="([^"]*)"', self.rest)
        return found.group(1) if found else ""

    @property
    def trip_count(self) -> int:
        """How often a while loop's body runs; 1 where XLA does not know."""
        found = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', self.rest)
        return int(found.group(1)) if found else 1

    @property
    def estimated_cycles(self) -> int:
        """XLA's estimate for a TPU, 0 where it gives none."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.rest)
        return int(found.group(1)) if found else 0

    @property
    def scope(self) -> str:
        """The names under which it was traced, e.g. jit(step)/jvp(UNetConditioner)/join/add."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found.group(1) if found else ""


@dataclasses.dataclass(frozen=True)
class Module:
    """A program.

    Attributes:
      computations: instructions by computation, in the order they are scheduled.
      entry: name of the one that runs.
      frames: source positions, "file:line", innermost first, by stack frame.
    """

    computations: dict[str, tuple[Instruction, ...]]
    entry: str
    frames: dict[int, tuple[str, ...]]

    @functools.cached_property
    def by_name(self) -> dict[str, dict[str, Instruction]]:
        """Instructions by computation and name; "name#k" is element k of a tuple, as XLA abbreviates it."""
        return {name: _named(lines) for name, lines in self.computations.items()}

    def scheduled(self, computation: str | None = None, times: int = 1) -> Iterator[tuple[str, Instruction, int]]:
        """(computation, instruction, how often it runs) of all that runs: the entry, loops, calls and branches."""
        computation = computation or self.entry
        for instruction in self.computations[computation]:
            yield computation, instruction, times
            if instruction.opcode == "while":
                inner, trips = ["body"], instruction.trip_count
            elif instruction.opcode in ("call", "async-start"):
                inner, trips = ["to_apply", "calls", "called_computation"], 1
            else:
                continue
            for name in filter(None, map(instruction.attribute, inner)):
                if name in self.computations:
                    yield from self.scheduled(name, times * trips)

    def source(self, instruction: Instruction, skip: tuple[str, ...] = ()) -> str:
        """The innermost source line outside the files `skip`, and what the instruction does there."""
        found = re.search(r"stack_frame_id=(\d+)", instruction.rest)
        frames = self.frames.get(int(found.group(1)), ()) if found else ()
        kept = [f for f in frames if not f.split(":")[0].endswith(skip)] if skip else list(frames)
        return (kept or list(frames) or [""])[0]


def _named(lines: tuple[Instruction, ...]) -> dict[str, Instruction]:
    named = {i.name: i for i in lines}
    for i in lines:
        for k, shape in enumerate(i.shapes if len(i.shapes) > 1 else ()):
            element = f"{i.name}#{k}"
            named[element] = Instruction(element, "get-tuple-element", (shape,), "", (i.name,), "", False)
    return named


_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-$]+) \(.*\{\s*$")
_START = re.compile(r"^\s+(ROOT )?%?([\w.\-$]+) = ")
_ARRAY = re.compile(r"([a-z][a-z0-9]*)\[([\d,<=]*)\]")


def parse(text: str) -> Module:
    """The module that XLA printed.

    Raises:
      ValueError: where the text has no entry computation.
    """
    computations: dict[str, tuple[Instruction, ...]] = {}
    entry = current = None
    lines: list[Instruction] = []
    for line in text.splitlines():
        header = None if line.startswith(" ") else _HEADER.match(line)
        if header:
            current, lines = header.group(2), []
            entry = current if header.group(1) else entry
        elif current and line.startswith("}"):
            computations[current], current = tuple(lines), None
        elif current and (start := _START.match(line)):
            lines.append(_instruction(start, line))
    if entry is None:
        raise ValueError("the text holds no ENTRY computation: is it an optimised XLA program?")
    return Module(computations, entry, _frames(text))


def _instruction(start: re.Match, line: str) -> Instruction:
    shape, at = _shape(line, start.end())
    opening = line.index("(", at)
    closing = _closing(line, opening)
    inside = line[opening + 1 : closing]
    return Instruction(
        name=start.group(2),
        opcode=line[at:opening].strip(),
        shapes=tuple(
            Shape(dtype, tuple(int(d.lstrip("<=")) for d in dims.split(",") if d))
            for dtype, dims in _ARRAY.findall(shape)
        ),
        arguments=inside,
        operands=tuple(re.findall(r"%([\w.\-$]+(?:#\d+)?)", inside)),
        rest=line[closing + 1 :],
        root=bool(start.group(1)),
    )


def _shape(line: str, at: int) -> tuple[str, int]:
    """The type that starts at `at`, and where it ends; tuples and layouts may hold parentheses."""
    if line[at] == "(":
        end = _closing(line, at) + 1
    else:
        end = line.index(" ", at)
    return line[at:end], end


def _closing(line: str, opening: int) -> int:
    depth = 0
    for at in range(opening, len(line)):
        depth += (line[at] == "(") - (line[at] == ")")
        if depth == 0:
            return at
    return len(line)


def _frames(text: str) -> dict[int, tuple[str, ...]]:
    """Stacks by frame, from the tables at the head of the text; none where the text has none."""

    def table(name: str, pattern: str) -> dict[int, re.Match]:
        block = re.search(rf"^{name}\n((?:\d+ .*\n)*)", text, re.M)
        rows = (re.match(pattern, row) for row in (block.group(1).splitlines() if block else ()))
        return {int(row.group(1)): row for row in rows if row}

    files = {i: row.group(2) for i, row in table("FileNames", r'(\d+) "(.*)"').items()}
    places = table("FileLocations", r"(\d+) \{file_name_id=(\d+) .*?line=(\d+)")
    stacks = table("StackFrames", r"(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?")

    @functools.cache
    def stack(frame: int) -> tuple[str, ...]:
        row = stacks.get(frame)
        place = places.get(int(row.group(2))) if row else None
        if row is None or place is None:
            return ()
        own = f"{files.get(int(place.group(2)), '?')}:{place.group(3)}"
        parent = int(row.group(3) or 0) - 1  # printed one too high
        return (own, *(stack(parent) if parent > 0 else ()))

    return {frame: stack(frame) for frame in stacks}
