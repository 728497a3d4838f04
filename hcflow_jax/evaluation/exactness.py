"""A certificate of exactness: decoding inverts encoding, and the log-determinants in the likelihood are right."""

import dataclasses
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from hcflow_jax import settings
from hcflow_jax.api import Model
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import jacobians, shares
from hcflow_jax.evaluation.flow_scales import flow_scales
from hcflow_jax.evaluation.jacobians import LogDets
from hcflow_jax.evaluation.round_trip import RoundTrip, all_differences, round_trip, strange_images, summary

Images = UInt8[np.ndarray, "n R R 3"]
Tell = Callable[[str, int, int | None], object]

JACOBIAN_DIMS = 4096


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Measurements of a model's exactness, and whether they are within the limits.

    Attributes:
      held_out: round trips of the given images.
      strange: round trips of images that are unlike any training image, by kind. They have no limit.
      log_dets: log-determinants of the model's maps.
      jacobian_dims: Jacobians of maps with more dims were not computed.
      jacobian_images: the number of images whose log-determinants were compared.
      conditions: the largest condition number of each level's mixing matrices, to about 3 %. None: it is not finite,
        because a matrix is singular.
      bits_per_dim: the definition of the model's bits per dimension, in words.
    """

    held_out: RoundTrip
    strange: dict[str, RoundTrip]
    log_dets: tuple[LogDets, ...]
    jacobian_dims: int
    jacobian_images: int
    conditions: dict[str, float | None]
    bits_per_dim: str

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the model does not pass, one line each; empty if it passes."""
        lines = []
        if self.held_out.changed_values:
            lines.append(f"{self.held_out.changed_values:,} 8-bit values of the held-out images changed")
        for each in self.log_dets:
            if not each.within:
                lines.append(f"the log-determinants of level {each.level} differ by more than the limit")
        if all(each.jacobian is None for each in self.log_dets):
            lines.append(f"no log-determinant was compared: no level has at most {self.jacobian_dims:,} dims")
        return tuple(lines)

    @property
    def passed(self) -> bool:
        """Whether everything is within its limit, and at least one log-determinant was compared with a Jacobian."""
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "passed": self.passed,
            "failures": list(self.failures),
            "limits": {
                "changed_values_held_out": 0,
                "log_det_absolute_nats": jacobians.ABSOLUTE,
                "log_det_relative": jacobians.RELATIVE,
            },
            "held_out": self.held_out.as_dict(),
            "strange": {kind: found.as_dict() for kind, found in self.strange.items()},
            "log_dets": [each.as_dict() for each in self.log_dets],
            "jacobian_dims": self.jacobian_dims,
            "jacobian_images": self.jacobian_images,
            "condition_numbers": self.conditions,
            "bits_per_dim": self.bits_per_dim,
        }

    def __str__(self) -> str:
        """A table for a person."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield "exactness: passed" if self.passed else "exactness: FAILED"
        yield from (f"  because {line}" for line in self.failures)
        yield ""
        yield "round trips (limit: no 8-bit value of held-out images changes; one step of an 8-bit value is 3.9e-03)"
        yield f"  {'images':22}{'worst error':>13}{'median error':>14}{'changed values':>24}"
        for kind, found in {"held out": self.held_out, **self.strange}.items():
            median = "-" if found.median_error is None else f"{found.median_error:.1e}"
            changed = f"{found.changed_values:,} ({1 - found.same_values:.2%})"
            yield f"  {f'{found.images:,} {kind}':22}{found.worst_error_text:>13}{median:>14}{changed:>24}"
        yield ""
        limit = f"{jacobians.ABSOLUTE:g} nats + {jacobians.RELATIVE:g} of the log-det"
        yield f"log-dets in nats, the worst of {self.jacobian_images} images (limit: {limit})"
        yield f"  {'level':8}{'dims':>8}{'log-det':>12}{'against Jacobian':>20}{'against inverse':>18}"
        for each in self.log_dets:
            against = [_error(each.error, "too many dims"), _error(each.inverse_error, "none stated")]
            yield f"  {each.level:8}{each.dims:>8,}{each.stated[0]:>12.2f}{against[0]:>20}{against[1]:>18}"
        yield f"  Jacobians of at most {self.jacobian_dims:,} dims are computed"
        yield ""
        said = {level: "not finite" if value is None else f"{value:.3g}" for level, value in self.conditions.items()}
        conditions = ", ".join(f"{level} {value}" for level, value in said.items())
        yield f"largest condition number of the 1x1 mixings, by level: {conditions or 'there are none'}"
        yield from textwrap.wrap(self.bits_per_dim, 110)


def _error(value: float | None, missing: str) -> str:
    return missing if value is None else f"{value:.1e}"


def certificate(
    model: Model,
    images: Images | Iterable[Images],
    *,
    jacobian_dims: int = JACOBIAN_DIMS,
    jacobian_images: int = 2,
    tell: Tell = lambda *_: None,
) -> Certificate:
    """Measures how exact a model is, in float32.

    A model passes if no 8-bit value of the images changes when they are encoded and decoded, and if the
    log-determinants agree with autodiff and with those of the inverses to 1e-2 nats + 1e-4 of their size. If there
    are several processes, all of them must call this function, each with its own images. They share the work of the
    Jacobians, and all get the same certificate.

    Args:
      model: from `api.load`.
      images: held-out images, uint8 (n, R, R, 3), or an iterable of such arrays of any n. One batch at a time is in
        memory.
      jacobian_dims: Jacobians of maps with more dims are not computed. A Jacobian of d dims takes 16 d^2 bytes.
      jacobian_images: the number of images whose Jacobians are computed: the first ones.
      tell: is called with what is being done, how much of it is done, and how much there is (None: unknown).

    Raises:
      InputError: there are no images, the images are not uint8 or have another size, or a number is below 1.

    >>> model = api.load("portraits")
    >>> found = certificate(model, model.sample(2), jacobian_dims=64)
    >>> found.passed, [each.level for each in found.log_dets if each.jacobian]
    (True, ['prior', 'y1'])
    """
    for name, value in (("jacobian_dims", jacobian_dims), ("jacobian_images", jacobian_images)):
        if value < 1:
            raise InputError(f"{name} is {value}: expected 1 or more")
    total = len(images) if isinstance(images, np.ndarray) else None
    first = [np.zeros((0, model.resolution, model.resolution, 3), np.uint8)]
    pairs = _told(model.reconstruct_batches(_kept(images, jacobian_images, first), True), tell, total)
    worst, changed = (shares.gathered(each) for each in all_differences(pairs))
    if not len(worst):
        raise InputError("there are no images; exactness needs at least one")
    strange: dict[str, RoundTrip] = {}
    for kind, pictures in strange_images(model.resolution):
        tell(f"round trips of strange images: {kind}", len(strange), None)
        strange[kind] = round_trip(model, pictures)
    some = shares.gathered(np.concatenate(first))[:jacobian_images]
    compared = jacobians.log_dets(model, some, jacobian_dims, tell)
    with settings.own():
        scales = jax.device_get(jax.jit(flow_scales)(model.image_model.flow_params(model.prepared)))
    return Certificate(
        held_out=summary(worst, changed, math.prod(model.image_model.image_shape)),
        strange=strange,
        log_dets=compared,
        jacobian_dims=jacobian_dims,
        jacobian_images=len(some),
        conditions={
            n: jacobians.plain(float(scales[f"condition/{n}"]))
            for n in model.level_names
            if f"condition/{n}" in scales
        },
        bits_per_dim=definition_of_bits(model),
    )


def definition_of_bits(model: Model) -> str:
    """The definition of what `Model.bits_per_dim` returns: a sentence with its formula."""
    data, dims = model.config.data, math.prod(model.image_model.image_shape)
    if model.image_model.likelihood == "undefined":
        return "bits/dim: undefined, because a level of the model has no noise"
    value = "v" if data.bits == 8 else f"floor(v / {2 ** (8 - data.bits)})"
    noise, drawn = (f" + {data.noise_std:g} e", ", e is standard normal") if data.noise_std else ("", "")
    formula = f"bits/dim = -log2 p(x) / {dims:,} + {data.bits}"
    x = f"x = ({value} + u) / {2**data.bits} - 0.5{noise}"
    words = f"v are the {dims:,} 8-bit values of an image, u is uniform in [0, 1){drawn}, p is the model's density"
    bound = "an upper bound: noise on the coarser levels is drawn, and its entropy is counted"
    exact = "exact but for the draw of the noise" if noise else "exact but for the draw of u"
    return f"{formula}, where {x}, {words}; it is {exact if model.image_model.likelihood == 'exact' else bound}."


def _kept(images: Images | Iterable[Images], count: int, first: list[Images]) -> Iterator[Images]:
    """Yields the arrays of images, and appends the first `count` images to `first`."""
    found = 0
    for array in [images] if isinstance(images, np.ndarray) else images:
        if array.dtype != np.uint8:
            raise InputError(f"images are {array.dtype}: a round trip compares 8-bit values, so give uint8")
        if found < count:
            first.append(array[: count - found])
        found += len(array)
        yield array


def _told(pairs: Iterator[Any], tell: Tell, total: int | None) -> Iterator[Any]:
    done = 0
    for pair in pairs:
        yield pair
        done += len(pair[0])
        tell("round trips", done, total)
