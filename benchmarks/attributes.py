"""Trains the network that reads the options of a style's drawings, and writes its weights and their card.

    python -m benchmarks.attributes --style=toon-head

draws 20,000 pictures with the seeds "attributes-train-0" ..., trains on them, and measures the accuracy on 3,000
others, "attributes-eval-0" .... The weights go into `hcflow_jax/evaluation/weights`. Options that are read at an
accuracy under 90 % are left out of the file; the card names them.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from safetensors.numpy import save

from benchmarks import attribute_card
from hcflow_jax.data import render, workers
from hcflow_jax.evaluation import attributes
from hcflow_jax.files import write

FLAGS = flags.FLAGS
flags.DEFINE_enum("style", attributes.NAMES[0], attributes.NAMES, "of the drawings")
flags.DEFINE_integer("train_images", 20_000, "drawings to train on")
flags.DEFINE_integer("eval_images", 3_000, "fresh drawings to measure the accuracy on")
flags.DEFINE_integer("epochs", 8, "passes over the drawings")
flags.DEFINE_integer("seed", 0, "of the first weights, the order and the augmentation")
flags.DEFINE_string("out", None, "folder of the weights and the card; default: the package's")

BATCH = 64
RATE, DECAY = 2e-3, 1e-4  # Adam's highest learning rate; weight decay
NOISE = 0.06  # highest standard deviation of the added noise; pixel values are in [0, 1]
_TRAINING = dict(batch=BATCH, rate=RATE, decay=DECAY, noise=NOISE)
ABSENT = "none"
CHUNK = 500  # drawings of a job
_DRAW = "benchmarks.attributes:draw_chunk"

Drawn = tuple[np.ndarray, list[dict[str, str]]]  # images, and each one's options


def draw_chunk(job: dict[str, Any], report: workers.Report) -> None:
    """Draws the seeds of a job into an .npz file, for `workers.run`."""
    seeds = [f"{job['prefix']}-{i}" for i in range(job["start"], job["stop"])]
    images = np.stack(list(render.portraits(job["style"], seeds, attributes.SIZE)))
    options = [attributes.values(found) for found in render.options(job["style"], seeds)]
    np.savez(job["file"], images=images, options=json.dumps(options))
    report({"done": len(seeds)})


def draw(style: str, prefix: str, count: int) -> Drawn:
    """Drawings of the seeds PREFIX-0 ... with their options, drawn on all cores."""
    with tempfile.TemporaryDirectory() as folder:
        jobs: list[dict[str, Any]] = [
            dict(
                style=style, prefix=prefix, file=f"{folder}/{start}.npz", start=start, stop=min(count, start + CHUNK)
            )
            for start in range(0, count, CHUNK)
        ]
        with workers.bar(count, prefix) as bar:

            def report(message: dict[str, Any]) -> None:
                bar.update(message["done"])

            workers.run(_DRAW, jobs, report, workers=workers.cores(), what=f"drawing {prefix}")
        parts = [np.load(job["file"]) for job in jobs]
        images = np.concatenate([part["images"] for part in parts])
        return images, [found for part in parts for found in json.loads(str(part["options"]))]


def vocabulary(options: list[dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """The attributes and their values: options of which the drawings have at least two."""
    names = sorted({name for found in options for name in found})
    values = {name: sorted({found.get(name, ABSENT) for found in options}) for name in names}
    return {name: tuple(found) for name, found in values.items() if len(found) > 1}


def labels(options: list[dict[str, str]], known: dict[str, tuple[str, ...]]) -> np.ndarray:
    """The index of each drawing's value of each attribute, (n, attributes)."""
    table = {name: {value: i for i, value in enumerate(values)} for name, values in known.items()}
    return np.array([[table[name][found.get(name, ABSENT)] for name in known] for found in options])


def augmented(key: jax.Array, images: jax.Array) -> jax.Array:
    """Half of the drawings mirrored, half of them blurred a little, all of them with noise of some strength."""
    x = images.astype(jnp.float32) / 255
    mirror, blur, how_much, strength, noise = jax.random.split(key, 5)
    each = (len(x), 1, 1, 1)
    x = jnp.where(jax.random.bernoulli(mirror, 0.5, each), x[:, :, ::-1], x)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    blurred = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    share = jax.random.bernoulli(blur, 0.5, each) * jax.random.uniform(how_much, each)
    x = x + share * (blurred - x)
    x = x + NOISE * jax.random.uniform(strength, each) * jax.random.normal(noise, x.shape)
    return jnp.clip(x, 0, 1)


def train(images: np.ndarray, targets: np.ndarray, sizes: list[int], epochs: int, seed: int) -> dict[str, np.ndarray]:
    """The network's weights with the linear map to the scores ("head"), after training on all attributes."""
    params: Any = attributes.initial(seed)
    params["head.kernel"] = np.zeros((attributes.DIMS, sum(sizes)), np.float32)
    params["head.bias"] = np.zeros(sum(sizes), np.float32)
    steps = epochs * (len(images) // BATCH)
    rate = optax.warmup_cosine_decay_schedule(0.0, RATE, min(200, steps // 10), steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=DECAY))
    ends = np.cumsum(sizes)[:-1].tolist()

    def loss(params: Any, x: jax.Array, wanted: jax.Array) -> jax.Array:
        scores = attributes.embed(params, x) @ params["head.kernel"] + params["head.bias"]
        parts = enumerate(jnp.split(scores, ends, axis=1))
        each = [optax.softmax_cross_entropy_with_integer_labels(part, wanted[:, i]).mean() for i, part in parts]
        return jnp.stack(each).sum()

    @jax.jit
    def step(params: Any, state: Any, key: jax.Array, x: jax.Array, wanted: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(loss)(params, augmented(key, x), wanted)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state, done, started = optimizer.init(params), 0, time.monotonic()
    for epoch, order in enumerate(_orders(len(images), epochs, seed)):
        total = []
        for chosen in order:
            key = jax.random.fold_in(jax.random.key(seed), done)
            params, state, value = step(params, state, key, images[chosen], targets[chosen])
            total.append(value)
            done += 1
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {np.mean(jax.device_get(total)):.4f}, {seconds:.0f} s", flush=True)
    return {name: np.asarray(value) for name, value in params.items()}


def _orders(count: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
    """For every epoch the batches' indices, (batches, BATCH)."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        yield rng.permutation(count)[: count // BATCH * BATCH].reshape(-1, BATCH)


def features_of(weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    compiled = jax.jit(attributes.features)
    return np.concatenate([compiled(weights, part) for part in np.array_split(images, -(-len(images) // 500))])


def scaled(weights: dict[str, np.ndarray], images: np.ndarray) -> dict[str, np.ndarray]:
    """The same scores from features that have mean 0, and variance 1 on average over the dimensions."""
    found = features_of(weights, images).astype(np.float64)
    mean, scale = found.mean(0), np.sqrt(found.var(0).mean())
    return {
        **weights,
        "features.kernel": weights["features.kernel"] / scale,
        "features.bias": (weights["features.bias"] - mean) / scale,
        "head.kernel": weights["head.kernel"] * scale,
        "head.bias": weights["head.bias"] + mean @ weights["head.kernel"],
    }


def measured(scores: np.ndarray, wanted: np.ndarray, known: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Of each attribute: its values, its accuracy, and the value that is found least often where it is."""
    rows, ends = [], np.cumsum([len(values) for values in known.values()])[:-1]
    for i, (name, part) in enumerate(zip(known, np.split(scores, ends, axis=1), strict=True)):
        right, values = part.argmax(1) == wanted[:, i], known[name]
        recalls = [float(right[wanted[:, i] == j].mean()) for j in range(len(values))]
        worst = int(np.argmin(recalls))
        rows.append(
            dict(name=name, values=values, accuracy=float(right.mean()), worst=values[worst], recall=recalls[worst])
        )
    return rows


def packed(weights: dict[str, np.ndarray], rows: list[dict[str, Any]], told: dict[str, Any]) -> bytes:
    """The file of weights, without the scores of attributes that are read too seldom.

    Args:
      weights: as they are stored.
      rows: of each attribute, see `measured`.
      told: what else goes into the metadata.
    """
    kept = [row["accuracy"] >= attributes.LEAST_ACCURACY for row in rows]
    columns = np.repeat(kept, [len(row["values"]) for row in rows])
    told["attributes"] = [row for row, keep in zip(rows, kept, strict=True) if keep]
    told["left_out"] = [row for row, keep in zip(rows, kept, strict=True) if not keep]
    cut = {name: value[..., columns] if name.startswith("head.") else value for name, value in weights.items()}
    # What is not contiguous, safetensors would store in another order.
    return save({name: np.ascontiguousarray(value) for name, value in cut.items()}, {"attributes": json.dumps(told)})


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected: {argv[1:]}")
    style = FLAGS.style
    images, options = draw(style, "attributes-train", FLAGS.train_images)
    fresh, fresh_options = draw(style, "attributes-eval", FLAGS.eval_images)
    known = vocabulary(options)
    sizes = [len(values) for values in known.values()]
    weights = train(images, labels(options, known), sizes, FLAGS.epochs, FLAGS.seed)
    stored = {name: value.astype(np.float16) for name, value in scaled(weights, images).items()}
    used = {name: value.astype(np.float32) for name, value in stored.items()}
    scores = features_of(used, fresh) @ used["head.kernel"] + used["head.bias"]
    rows = measured(scores, labels(fresh_options, known), known)
    told = {
        "style": style,
        "drawn": render.describe(style, attributes.SIZE, f"attributes-train-0 ... {FLAGS.train_images - 1}"),
        "measured_on": f"attributes-eval-0 ... {FLAGS.eval_images - 1}",
        "training": dict(epochs=FLAGS.epochs, seed=FLAGS.seed, jax=jax.__version__, **_TRAINING),
    }
    content = packed(stored, rows, told)
    path = Path(FLAGS.out) / f"{style}.safetensors" if FLAGS.out else attributes.file(style)
    path.parent.mkdir(parents=True, exist_ok=True)
    card = attribute_card.text(told, len(content)).encode()
    for where, what in ((path, content), (path.with_suffix(".md"), card)):
        write(where, lambda file, what=what: file.write(what))
    print(f"{path}: {len(content):,} bytes")
    for row in rows:
        print(f"{row['name']:>18}  {row['accuracy']:.4f}  least: {row['worst']} {row['recall']:.4f}")


if __name__ == "__main__":
    app.run(main)
