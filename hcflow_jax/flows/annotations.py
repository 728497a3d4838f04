"""The annotations of shapes. jaxtyping checks them while tests run; flows work without it.

`import hcflow_jax.flows` needs jax, flax and numpy alone. Where jaxtyping is missing, an annotation such as
`Float[Array, "b c"]` stands for its array type.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Array, Float
else:
    try:
        from jaxtyping import Array, Float
    except ImportError:
        from jax import Array

        class Float:
            """Float[Array, shape] is Array."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]


__all__ = ["Array", "Float"]
