"""The machine that a pickle runs on: PyTorch's few instructions, on inert values, within bounds.

`pickletools` splits the bytes into instructions; each that is known here has a method of its name. The rest are
refused by name, which leaves no way to imports, calls, frames or preallocated buffers.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Any

from hcflow_jax.unpickle import values
from hcflow_jax.unpickle.source import Source, UnpickleError, shown
from hcflow_jax.unpickle.values import is_count

# A model of 1,000 tensors takes some 120,000 instructions in 0.4 MB.
BYTES = 2**26  # of a pickle
INSTRUCTIONS = 2**22  # of a pickle
WAITING = 10_000  # values on the stack
MARKS = 500  # containers begun within each other
PROTOCOL = 2  # PyTorch's

_KEYS = 2**31  # numbers up to it may be keys; larger ones can be chosen to collide

Persistent = Callable[[Any], Any]


def load(source: Source, persistent: Persistent | None = None) -> Any:
    """Runs the pickle at which a source is, and leaves the source after it.

    Args:
      source: at the pickle's first byte.
      persistent: makes a value of what the pickle refers to by a persistent id; None: it must not.

    Returns:
      What it makes: dicts, lists, tuples, sets, strings, bytes, numbers, and what `values` has.

    Raises:
      UnpickleError: it is cut short, damaged, too large, or wants anything else.
    """
    source.within(BYTES)
    start = source.tell()
    machine = _Machine(persistent)
    at = start
    try:
        for instruction, argument, _ in pickletools.genops(source):  # pyright: ignore[reportArgumentType]
            machine.step(instruction.name, argument)
            at = source.tell()
    except UnpickleError as error:
        raise UnpickleError(f"{error} (in the pickle at byte {start}, after byte {at})") from None
    except (ValueError, IndexError, struct.error) as error:
        raise UnpickleError(f"the pickle at byte {start} is damaged after byte {at} ({_first(error)})") from None
    source.within(None)
    return machine.result()


def _first(error: Exception) -> str:
    return shown(str(error) or type(error).__name__)


class _Machine:
    """A stack, what was begun below it, and the values to be referred to again."""

    def __init__(self, persistent: Persistent | None) -> None:
        self._stack: list[Any] = []
        self._begun: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._waiting = self._done = 0
        self._persistent = persistent

    def step(self, name: str, argument: Any) -> None:
        """Does one instruction."""
        self._done += 1
        if self._done > INSTRUCTIONS:
            raise UnpickleError(f"it has more than {INSTRUCTIONS} instructions, which no model takes")
        if name in _VALUES:
            self._push(argument if argument is not None else _VALUES[name]())
        else:
            do = _METHODS.get(name)
            if do is None:
                raise UnpickleError(f"it has the instruction {name}, which PyTorch does not write: refused")
            do(self, argument)

    def result(self) -> Any:
        """What is left once it has stopped."""
        return self._stack[0]

    def _push(self, value: Any) -> None:
        if len(self._stack) + self._waiting >= WAITING:
            raise UnpickleError(f"it nests deeper or longer than any model: more than {WAITING} values wait")
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise UnpickleError("it takes a value where there is none")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            found = shown(self._stack[-1]) if self._stack else "nothing"
            raise UnpickleError(f"it adds to a {kind.__name__} where {found} is")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        if not self._begun:
            raise UnpickleError("it ends a container that was not begun")
        items, self._stack = self._stack, self._begun.pop()
        self._waiting -= len(self._stack)
        return items

    # Instructions, each under its name

    def proto(self, version: int) -> None:
        if version != PROTOCOL:
            raise UnpickleError(f"it is of pickle protocol {version}, expected {PROTOCOL}")

    def stop(self, _: None) -> None:
        if self._begun or len(self._stack) != 1:
            raise UnpickleError("it stops before it is done")

    def mark(self, _: None) -> None:
        if len(self._begun) >= MARKS:
            raise UnpickleError(f"it nests deeper than any model: {MARKS} containers within each other")
        self._waiting += len(self._stack)
        self._begun.append(self._stack)
        self._stack = []

    def pop(self, _: None) -> None:
        self._pop()

    def pop_mark(self, _: None) -> None:
        self._since_mark()

    def tuple(self, _: None) -> None:
        items = self._since_mark()
        self._push(tuple(items))

    def tuple1(self, _: None) -> None:
        self._push((self._pop(),))

    def tuple2(self, _: None) -> None:
        last = self._pop()
        self._push((self._pop(), last))

    def tuple3(self, _: None) -> None:
        last, middle = self._pop(), self._pop()
        self._push((self._pop(), middle, last))

    def append(self, _: None) -> None:
        item = self._pop()
        self._top(list).append(item)

    def appends(self, _: None) -> None:
        items = self._since_mark()
        self._top(list).extend(items)

    def setitem(self, _: None) -> None:
        value, key = self._pop(), self._pop()
        self._top(dict)[_key(key)] = value

    def setitems(self, _: None) -> None:
        items = self._since_mark()
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def binput(self, place: int) -> None:
        if place > self._done:
            raise UnpickleError(f"it keeps a value in place {place} of {self._done}")
        value = self._pop()
        self._memo[place] = value
        self._push(value)

    def binget(self, place: int) -> None:
        if place not in self._memo:
            raise UnpickleError(f"it refers to a value {place} that it has not made")
        self._push(self._memo[place])

    def names(self, name: str) -> None:
        module, _, rest = name.partition(" ")
        self._push(values.named(module, rest))

    def newobj(self, _: None) -> None:
        arguments = self._pop()
        self._push(values.new(self._pop(), arguments))

    def reduce(self, _: None) -> None:
        arguments = self._pop()
        self._push(values.call(self._pop(), arguments))

    def build(self, _: None) -> None:
        state, target = self._pop(), self._pop()
        values.build(target, state)
        self._push(target)

    def binpersid(self, _: None) -> None:
        if self._persistent is None:
            raise UnpickleError("it refers to something outside of it, where nothing is")
        self._push(self._persistent(self._pop()))


def _key(key: Any) -> Any:
    if type(key) is str or (is_count(key) and key < _KEYS):
        return key
    raise UnpickleError(f"it has a dictionary with a {shown(key)} for a key, expected a name or a number")


_VALUES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"), lambda: None),
}
_METHODS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.proto,
    "STOP": _Machine.stop,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "TUPLE": _Machine.tuple,
    "TUPLE1": _Machine.tuple1,
    "TUPLE2": _Machine.tuple2,
    "TUPLE3": _Machine.tuple3,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.setitem,
    "SETITEMS": _Machine.setitems,
    "BINPUT": _Machine.binput,
    "LONG_BINPUT": _Machine.binput,
    "BINGET": _Machine.binget,
    "LONG_BINGET": _Machine.binget,
    "GLOBAL": _Machine.names,
    "NEWOBJ": _Machine.newobj,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.binpersid,
}
