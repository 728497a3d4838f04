"""The networks inside bijectors: their interface (`Conditioner`), and how a bijector calls them.

A Flax Linen module has this interface. A network of another library needs an adapter of a few lines: a class with
`init` and `apply`. Make it a frozen dataclass, so that jax can compare bijectors that contain it.
"""

from typing import Any, Protocol, runtime_checkable

from flax.errors import FlaxError

from hcflow_jax.errors import InputError
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Cond, Params
from hcflow_jax.flows.checking import describe


@runtime_checkable
class Conditioner(Protocol):
    """A network (x, cond) -> arrays, as two pure functions.

    It may also have `calibrate(variables, x, cond) -> variables`, which initialises parameters from data, such as
    those of actnorms inside the network. The bijector's own `calibrate` calls it.
    """

    def init(self, key: Array, x: Array, cond: Cond, /) -> Any:
        """Fresh variables: {"params": tree of arrays}."""
        ...

    def apply(self, variables: Any, x: Array, cond: Cond, /) -> Any:
        """The output of the network with these variables."""
        ...


def create(name: str, net: Any, key: Array, x: Array, cond: Cond) -> Params:
    """Fresh parameters of the network.

    Args:
      name: the name of the bijector, for messages.
      net: a `Conditioner`.
      key: a typed key.
      x: the input of the network.
      cond: the conditioning, or None.

    Raises:
      InputError: `net` is not a `Conditioner`, does not take x and cond, or has variables other than parameters.
    """
    if isinstance(net, type) or not isinstance(net, Conditioner):
        given = f"the class {net.__name__}" if isinstance(net, type) else type(net).__name__
        raise InputError(f"{name}: its network must have init and apply, as a Flax module has, but is {given}")
    try:
        variables = net.init(key, x, cond)
    except _WRONG_INPUT as error:
        raise _refused(name, x, cond, error) from error
    others = sorted(set(variables) - {"params"})
    if others:
        raise InputError(f"{name}: its network may only have parameters, but it also has {', '.join(others)}")
    return variables.get("params", {})


def calibrate(net: Any, params: Params, x: Array, cond: Cond) -> Params:
    """The parameters after the network's own initialisation from data; unchanged if it has no `calibrate`.

    Args:
      net: a `Conditioner`.
      params: its parameters.
      x: the input of the network.
      cond: the conditioning, or None.
    """
    if not hasattr(net, "calibrate"):
        return params
    return net.calibrate({"params": params}, x, cond)["params"]


def run(name: str, net: Any, params: Params, x: Array, cond: Cond) -> Any:
    """The output of the network.

    Args:
      name: the name of the bijector, for messages.
      net: a `Conditioner`.
      params: its parameters.
      x: the input of the network.
      cond: the conditioning, or None.

    Raises:
      InputError: the network does not take x and cond.
    """
    try:
        return net.apply({"params": params}, x, cond)
    except _WRONG_INPUT as error:
        raise _refused(name, x, cond, error) from error


def pair(name: str, out: Any, what: str, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Checks that the output of a network is two arrays, and returns them.

    Args:
      name: the name of the bijector, for messages.
      out: the output.
      what: what the two arrays are, such as "(s, b)", for the message.
      shape: the expected shape of each, for the message.

    Raises:
      InputError: the output is not a pair.
    """
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise InputError(f"{name}: its network must give {what}, each of shape {tuple(shape)}, not {describe(out)}")
    return out[0], out[1]


# The errors that networks (of Flax and of other libraries) raise for an input that does not fit.
_WRONG_INPUT = (TypeError, ValueError, AttributeError, KeyError, FlaxError)


def _refused(name: str, x: Array, cond: Cond, error: Exception) -> InputError:
    given = "cond None" if cond is None else f"cond of shape {describe(cond)}"
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(
        f"{name}: its network does not take x of shape {tuple(x.shape)} and {given} (as init was given?): {reason}"
    )
