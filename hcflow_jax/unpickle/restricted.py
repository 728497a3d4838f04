"""Python's own unpickler, restricted to the values in a model.

A pickle is a program, so it is checked before it is executed. `pickletools` splits it into instructions, and says
which values each instruction takes from the stack and puts there. `_Kinds` follows the instructions with the kinds of
the values instead of the values. Then `pickle.Unpickler` executes the pickle. It gets every name from `values`, and
every reference to something outside the pickle from the caller.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

from hcflow_jax.unpickle.source import Source, UnpickleError, shown
from hcflow_jax.unpickle.values import Names

# Limits. The pickle of a model of 1,000 tensors has about 120,000 instructions in 0.4 MB.
BYTES = 2**26  # the size of a pickle
INSTRUCTIONS = 2**22  # the number of instructions of a pickle
WAITING = 10_000  # the number of values on the stack
MARKS = 500  # the depth of nested containers
PROTOCOL = 2  # the version that PyTorch writes

_KEYS = 2**31  # keys of dicts must be below it: larger numbers can be chosen so that their hashes collide
_VALUES = "NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE EMPTY_DICT EMPTY_LIST EMPTY_TUPLE"
_CONTAINERS = "MARK POP POP_MARK TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS"
_REST = "PROTO STOP BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL NEWOBJ REDUCE BUILD BINPERSID"
_ALLOWED = frozenset(f"{_VALUES} {_CONTAINERS} {_REST}".split())
_DAMAGED = (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError)

Persistent = Callable[[Any], Any]


def load(source: Source, persistent: Persistent | None = None) -> Any:
    """Reads a pickle, and moves the source to the byte after it.

    Args:
      source: the file, at the first byte of the pickle.
      persistent: gives the value for a persistent id. None: the pickle must not have persistent ids.

    Returns:
      The value of the pickle: dicts, lists, tuples, sets, strings, bytes, numbers, and the classes of `values`.

    Raises:
      UnpickleError: the pickle is cut short, damaged or too large, or contains anything else.
    """
    start = source.tell()
    content = io.BytesIO(source.bytes[start : start + BYTES])  # this limits the size of everything in it
    kinds = _Kinds()
    try:
        for instruction, argument, _ in pickletools.genops(content):
            kinds.follow(instruction, argument)
        source.skip(content.tell())
        content.seek(0)
        unpickler = _Unpickler(content)
        unpickler.names, unpickler.persistent = Names(), persistent
        return unpickler.load()
    except UnpickleError as error:
        raise UnpickleError(f"{error} (in the pickle at byte {start})") from None
    except _DAMAGED as error:
        said = shown(str(error) or type(error).__name__)
        raise UnpickleError(f"the pickle at byte {start} is damaged or too long ({said})") from None


class _Unpickler(pickle.Unpickler):
    names: Names
    persistent: Persistent | None

    def find_class(self, module: str, name: str, /) -> Any:
        return self.names.named(module, name)

    def persistent_load(self, pid: Any, /) -> Any:
        if self.persistent is None:
            raise UnpickleError("it refers to something outside of it, which does not exist")
        return self.persistent(pid)


class _Kinds:
    """The unpickler's stack and memo, with the kinds of values instead of the values."""

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._marks: list[int] = []
        self._memo: dict[int, str] = {}
        self._done = 0

    def follow(self, instruction: pickletools.OpcodeInfo, argument: Any) -> None:
        """Applies an instruction to the stack.

        Args:
          instruction: the instruction.
          argument: its argument.

        Raises:
          UnpickleError: the instruction is not allowed here.
        """
        name, takes = instruction.name, instruction.stack_before
        self._done += 1
        if self._done > INSTRUCTIONS:
            raise UnpickleError(f"it has more than {INSTRUCTIONS} instructions, more than any model needs")
        if name not in _ALLOWED:
            raise UnpickleError(f"it has the instruction {name}, which PyTorch does not write: refused")
        if name == "PROTO" and argument != PROTOCOL:
            raise UnpickleError(f"it is of pickle protocol {argument}, expected {PROTOCOL}")
        if name == "MARK":
            self._mark()
            return
        if name.endswith("PUT"):
            self._put(argument)
            return
        items: list[str] = []
        if pickletools.markobject in takes:
            items, takes = self._since_mark(), takes[: takes.index(pickletools.markobject)]
        below = self._pop(len(takes))
        made = [kind.name for kind in instruction.stack_after]
        if name == "STOP" and (self._stack or self._marks):
            raise UnpickleError("it stops before it is done")
        if name.endswith("GET"):
            made = [self._get(argument)]
        elif made == ["int"] and not 0 <= argument < _KEYS:
            made = ["large number"]
        elif name.startswith(("APPEND", "SETITEM")):
            _check_added(made[0], below[0], below[1:2] or items[::2])
            made = below[:1]
        self._stack += made
        if len(self._stack) > WAITING:
            raise UnpickleError(f"it nests deeper or longer than any model: more than {WAITING} values wait")

    def _mark(self) -> None:
        if len(self._marks) >= MARKS:
            raise UnpickleError(f"it nests deeper than any model: {MARKS} containers")
        self._marks.append(len(self._stack))

    def _since_mark(self) -> list[str]:
        if not self._marks:
            raise UnpickleError("it ends a container that has not begun")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _pop(self, count: int) -> list[str]:
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            raise UnpickleError("it takes a value where there is none")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _put(self, place: int) -> None:
        if place > self._done:  # the unpickler would allocate memory for all places up to this one
            raise UnpickleError(f"it keeps a value in place {place} of {self._done}")
        kept = self._pop(1)
        self._memo[place] = kept[0]
        self._stack += kept

    def _get(self, place: int) -> str:
        if place not in self._memo:
            raise UnpickleError(f"it refers to a value {place} that it has not made")
        return self._memo[place]


def _check_added(wanted: str, target: str, keys: list[str]) -> None:
    """Checks what is added to a list or dict. Keys could be chosen so that hashing them takes forever or fails.

    Args:
      wanted: the kind of the container that the instruction needs.
      target: the kind of the value that it finds.
      keys: the kinds of the keys.
    """
    if target not in (wanted, "any"):
        raise UnpickleError(f"it adds to a {wanted}, but finds {target}")
    for key in keys if wanted == "dict" else ():
        if key not in ("str", "int"):
            raise UnpickleError(f"it has a dictionary with a {key} for a key, expected a name or a number")
