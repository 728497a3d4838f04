"""Maps between the 1x1 vector y_top = [y_prior | y_1] and its latents. The other levels are not needed."""

from typing import TYPE_CHECKING, Any

from jaxtyping import Array, Float

from hcflow_jax.models.base import ByLevel, Params

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.model import Hierarchy

TOP = ("prior", "y1")


def to_features(model: "Hierarchy", params: Params, z: ByLevel) -> ByLevel:
    """y of "prior" and "y1" from their latents.

    Args:
      model: the model.
      params: raw or prepared.
      z: the latents of "prior" and "y1", (b, dims) each; other levels are not used.
    """
    prior, y1 = (model.level(n).flow for n in TOP)
    y_prior, _ = prior.inverse(params["flows"]["prior"], z["prior"])
    y_1, _ = y1.inverse(params["flows"]["y1"], z["y1"], _condition(model, params, y_prior))
    return {"prior": y_prior, "y1": y_1}


def to_latents(model: "Hierarchy", params: Params, y: ByLevel) -> ByLevel:
    """The latents of "prior" and "y1" from their y: the inverse of `to_features`."""
    prior, y1 = (model.level(n).flow for n in TOP)
    z_prior, _ = prior.forward(params["flows"]["prior"], y["prior"])
    z_1, _ = y1.forward(params["flows"]["y1"], y["y1"], _condition(model, params, y["prior"]))
    return {"prior": z_prior, "y1": z_1}


def _condition(model: "Hierarchy", params: Params, y_prior: Float[Array, "b p"]) -> Array:
    """The conditioning of the flow over y_1."""
    decoder: Any = model.level("y1").decoder
    return decoder.apply({"params": params["decoder"]["y1"]}, y_prior)
