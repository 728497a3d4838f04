"""Shape annotations. jaxtyping checks them while tests run; flows work without jaxtyping.

`import hcflow_jax.flows` needs only jax, flax and numpy. If jaxtyping is not installed, an annotation such as
`Float[Array, "b c"]` means its array type, `Array`.
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
