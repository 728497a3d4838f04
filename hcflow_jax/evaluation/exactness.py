"""A certificate of exactness: that decoding undoes encoding, and that the likelihood counts volumes rightly."""

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
    """What was found of a model, and whether it is exact.

    Attributes:
      held_out: round trips of the images given.
      strange: round trips of images that no set would hold, by what they are. They have no limit.
      log_dets: log-determinants of the maps that the model is made of.
      jacobian_dims: maps of more dims have no Jacobian computed.
      jacobian_images: how many images' log-determinants were compared.
      conditions: the largest condition number of a level's mixing matrices, by level, to about 3 %.
      bits_per_dim: the definition of the model's bits per dimension.
    """

    held_out: RoundTrip
    strange: dict[str, RoundTrip]
    log_dets: tuple[LogDets, ...]
    jacobian_dims: int
    jacobian_images: int
    conditions: dict[str, float]
    bits_per_dim: str

    @property
    def failures(self) -> tuple[str, ...]:
        """Why it does not pass, a line each; empty if it passes."""
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
        """Whether all is within its limits, and at least one log-determinant was compared with its Jacobian."""
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
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
        yield "round trips (limit: no 8-bit value of the held-out images changes; one level of a value is 3.9e-03)"
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
        conditions = ", ".join(f"{level} {value:.3g}" for level, value in self.conditions.items())
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

    It passes if no 8-bit value of the images changes when they are encoded and decoded, and if the log-determinants
    agree with autodiff and with those of the inverses to 1e-2 nats + 1e-4 of their size. Where several processes run,
    all of them call it, each with its own images. They share the Jacobians, and all get the same certificate.

    Args:
      model: from `api.load`.
      images: held out, uint8 (n, R, R, 3), or arrays of any n one after the other; a batch at a time is in memory.
      jacobian_dims: Jacobians of more dims are not computed. One of d dims takes 16 d^2 bytes.
      jacobian_images: how many of the images have their Jacobians computed: the first.
      tell: is given what is being done, how much of it is done, and of how much (None: unknown).

    Raises:
      InputError: there are no images, they are not uint8 or of another size, or a number is below 1.

    >>> model = api.load()
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
        conditions={n: float(scales[f"condition/{n}"]) for n in model.level_names if f"condition/{n}" in scales},
        bits_per_dim=definition_of_bits(model),
    )


def definition_of_bits(model: Model) -> str:
    """What `Model.bits_per_dim` gives, in a sentence with its formula."""
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
    """The images, array by array; the first `count` of them stay in `first`."""
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
