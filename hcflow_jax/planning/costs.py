"""The cost of a run on a target: memory of a device, time of a step, images per second, hours and price."""

import dataclasses
from typing import Any

from hcflow_jax.planning.result import Result
from hcflow_jax.planning.targets import CHIPS, Target


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run costs on a target. Times are modelled (docs/plan.md).

    Attributes:
      target: the devices.
      result: the compiled step.
      images: the number of images of the run.
      price: the price of a device for an hour, in any currency; None: not known.
    """

    target: Target
    result: Result
    images: int
    price: float | None = None

    @property
    def batch(self) -> int:
        """Images of a step on all devices."""
        return self.result.batch_per_device * self.target.size

    @property
    def memory(self) -> dict[str, float]:
        """Bytes of a device by kind: "state" (parameters, EMA, optimizer), "images", "activations".

        "activations" is the rest of XLA's plan: activations that the backward pass needs, gradients, and all other
        temporary arrays.
        """
        needed = self.result.memory_bytes
        state = float(sum(self.result.state_bytes.values()))
        images = float(self.result.image_bytes)
        return {"state": state, "images": images, "activations": sum(needed.values()) - state - images}

    @property
    def total(self) -> float:
        """Bytes that the step needs on a device."""
        return float(sum(self.result.memory_bytes.values()))

    @property
    def usable(self) -> float:
        """Bytes of a device that a program can have."""
        chip = CHIPS[self.target.chip]
        return chip.memory * chip.usable

    @property
    def fits(self) -> bool:
        """Whether the step fits into the memory of a device."""
        return self.total <= self.usable

    @property
    def computing(self) -> float:
        """Seconds in which a device computes its part of a step."""
        return self.result.ms_per_image * self.result.batch_per_device / 1e3

    @property
    def sent(self) -> float:
        """Bytes that a device sends in a step. In a ring of n devices these are 2 (n - 1) / n of the bytes summed."""
        n = self.target.size
        return 2 * (n - 1) / n * self.result.collectives["bytes"]

    @property
    def sending(self) -> float:
        """Seconds that these bytes need at the rate of the link, without latency."""
        return self.sent / self.target.rate

    @property
    def step(self) -> float:
        """Seconds of a step, if sending does not overlap with computing."""
        return self.computing + self.sending

    @property
    def images_per_second(self) -> float:
        """Images per second of all devices together."""
        return self.batch / self.step

    @property
    def hours(self) -> float:
        """Hours of the run."""
        return self.images / self.images_per_second / 3600

    @property
    def device_hours(self) -> float:
        """Hours times devices."""
        return self.hours * self.target.size

    @property
    def total_price(self) -> float | None:
        """The price of the run."""
        return None if self.price is None else self.device_hours * self.price


def plain(cost: Cost) -> dict[str, Any]:
    """A cost as values of JSON, together with the result from which it is computed."""
    return {
        "target": cost.target.name,
        "devices": cost.target.size,
        "batch_per_device": cost.result.batch_per_device,
        "batch": cost.batch,
        "fits": cost.fits,
        "memory_bytes": {**cost.memory, "total": cost.total, "usable": cost.usable, "free": cost.usable - cost.total},
        "ms_per_image": cost.result.ms_per_image,
        "step_ms": {"computing": 1e3 * cost.computing, "sending": 1e3 * cost.sending, "step": 1e3 * cost.step},
        "sent_bytes": cost.sent,
        "link_bytes_per_second": cost.target.rate if cost.target.size > 1 else None,
        "link_source": CHIPS[cost.target.chip].source,
        "images_per_second": cost.images_per_second,
        "images": cost.images,
        "hours": cost.hours,
        "device_hours": cost.device_hours,
        "price_per_device_hour": cost.price,
        "price": cost.total_price,
        "compiled": dataclasses.asdict(cost.result),
    }
