"""The order of images: known from seed and place, shared by hosts, resumed exactly."""

import itertools
import time

import numpy as np
import pytest
from PIL import Image

from hcflow_jax.config import ConfigError, default
from hcflow_jax.data import open_source, pipeline
from hcflow_jax.data.pipeline import eval_batches, init_images, train_batches

COUNT = 10  # training images; not a multiple of the batch, so batches span epochs
BATCH = 4


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(COUNT + 5):
        Image.new("RGB", (4, 4), (i, 2 * i, 3 * i)).save(folder / f"{i:03d}.png")
    config = default()
    config.data.update(source="folder", path=str(folder), resolution=4, eval_images=5)
    config.train.batch_size = BATCH
    config.train.init_images = 6
    config.eval.update(images=100, batch_size=4)
    return config


def _take(config, start: int, count: int, *share: int) -> list[dict]:
    batches = train_batches(config, start, *share)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def _same(left: list[dict], right: list[dict]) -> None:
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def _order(batches) -> list[int]:
    return np.concatenate([batch["indices"] for batch in batches]).tolist()


def test_a_batch(config):
    batch = next(train_batches(config, 0))
    assert batch["images"].shape == (4, 4, 4, 3) and batch["images"].dtype == np.uint8
    assert batch["indices"].shape == (4,) and batch["indices"].dtype == np.int64
    np.testing.assert_array_equal(batch["images"][:, 0, 0, 0], batch["indices"])


def test_every_epoch_is_another_permutation(config):
    order = _order(_take(config, 0, 10))
    epochs = [order[i : i + COUNT] for i in range(0, 40, COUNT)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_is_what_it_always_was(config):
    """A run that was begun with another version of grain goes on with the image that comes next."""
    first = [1, 2, 4, 5, 9, 7, 8, 6, 0, 3, 9, 6, 1, 8, 2, 0, 3, 5, 4, 7, 7, 8, 2, 4]
    assert _order(_take(config, 0, 6)) == first


# Batches 2 and 7 span two epochs, batch 5 begins one.
@pytest.mark.parametrize("done", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("threads", [0, 1, 2])
def test_resumes_exactly(config, done, threads):
    config = config.copy_and_resolve_references()
    config.data.read_threads = threads
    _same(_take(config, 0, 12)[done:], _take(config, done * BATCH, 12 - done))


@pytest.mark.parametrize("start", [3, COUNT - 1, COUNT, 2 * COUNT + 5])
def test_resumes_with_another_batch_size_at_the_next_image(config, start):
    order = _order(_take(config, 0, 15))
    other = config.copy_and_resolve_references()
    other.train.batch_size = 6
    assert _order(_take(other, start, 5)) == order[start : start + 30]


def test_far_resume_costs_nothing(config):
    far = 10**12
    assert _order(_take(config, far + BATCH, 1)) == _order(_take(config, far, 2))[BATCH:]


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("start", [0, 12, 13])
def test_hosts_share_the_global_batch(config, hosts, start):
    whole = _take(config, start, 6)
    shares = [_take(config, start, 6, p, hosts) for p in range(hosts)]
    _same(_joined(shares), whole)


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 2), (2, 1)])
def test_resumes_with_another_number_of_hosts(config, before, after):
    first = _joined([_take(config, 0, 4, p, before) for p in range(before)])
    rest = _joined([_take(config, 4 * BATCH, 4, p, after) for p in range(after)])
    _same(first + rest, _take(config, 0, 8))


def _joined(shares: list[list[dict]]) -> list[dict]:
    steps = zip(*shares, strict=True)
    return [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in steps]


def test_seed_decides_the_order(config):
    other = config.copy_and_resolve_references()
    other.seed = 2**33 + 1
    assert _order(_take(config, 0, 5)) == _order(_take(config, 0, 5)) != _order(_take(other, 0, 5))


def test_set_smaller_than_the_batch(config):
    config = config.copy_and_resolve_references()
    config.train.batch_size = 24
    order = _order(_take(config, 0, 5))
    assert len(order) == 120 and all(order.count(i) == 12 for i in range(COUNT))


def test_batch_the_hosts_cannot_share(config):
    with pytest.raises(ConfigError, match=r"train\.batch_size is 4"):
        train_batches(config, 0, 0, 3)


@pytest.mark.parametrize(("threads", "chunk"), [(0, 8), (2, 4), (2, 3)])
def test_initialisation_takes_the_first_of_the_order(config, threads, chunk, monkeypatch):
    monkeypatch.setattr(pipeline, "_CHUNK", chunk)
    config = config.copy_and_resolve_references()
    config.data.read_threads = threads
    images, batches = init_images(config), _take(config, 0, 2)
    np.testing.assert_array_equal(images, np.concatenate([b["images"] for b in batches])[:6])


def test_a_source_that_is_open_is_taken(config):
    train, held_out = open_source(config, "train"), open_source(config, "eval")
    elsewhere = config.copy_and_resolve_references()
    elsewhere.data.path = "/nowhere"
    batches = train_batches(elsewhere, source=train)
    _same([next(batches)], _take(config, 0, 1))
    batches.close()
    np.testing.assert_array_equal(init_images(elsewhere, train), init_images(config))
    _same(list(eval_batches(elsewhere, source=held_out)), list(eval_batches(config)))


@pytest.mark.parametrize("threads", [0, 2])
def test_a_batch_is_placed_before_it_is_asked_for(config, threads):
    config = config.copy_and_resolve_references()
    config.data.read_threads = threads
    placed: list[list[int]] = []

    def place(batch):
        placed.append(batch["indices"].tolist())
        return batch["indices"]

    batches = train_batches(config, place=place)
    deadline = time.monotonic() + 20
    while len(placed) < pipeline.PLACED and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # what would be read without a bound would be by now
    assert placed == [b["indices"].tolist() for b in _take(config, 0, pipeline.PLACED)]
    np.testing.assert_array_equal(next(batches), placed[0])
    batches.close()


@pytest.mark.parametrize(("field", "value"), [("read_threads", -1), ("read_timeout", 0.0)])
def test_how_to_read_is_checked(config, field, value):
    config = config.copy_and_resolve_references()
    config.data[field] = value
    with pytest.raises(ConfigError, match=rf"data\.{field} is {value}"):
        train_batches(config)


def test_more_initial_images_than_there_are(config):
    config = config.copy_and_resolve_references()
    config.train.init_images = COUNT + 1
    with pytest.raises(ConfigError, match=rf"train\.init_images is {COUNT + 1}"):
        init_images(config)


@pytest.mark.parametrize(
    ("most", "batch", "indices", "valid"),
    [
        (100, 4, [[0, 1, 2, 3], [4, 0, 1, 2]], [4, 1]),
        (3, 4, [[0, 1, 2, 3]], [3]),  # a group of four holds four images
        (4, 2, [[0, 1], [2, 3]], [2, 2]),
        (4, 6, [[0, 1, 2, 3, 0, 1]], [4]),
        (2, 6, [[0, 1, 2, 3, 0, 1]], [2]),
        (100, 12, [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]], [5]),
    ],
)
def test_evaluation_completes_the_last_batch(config, most, batch, indices, valid):
    config = config.copy_and_resolve_references()
    config.eval.update(images=most, batch_size=batch)
    batches = list(eval_batches(config, batch_unit=4))
    assert [b["indices"].tolist() for b in batches] == indices
    assert [int(b["valid"].sum()) for b in batches] == valid
    for b in batches:
        assert b["images"].dtype == np.uint8 and b["indices"].dtype == np.int64 and b["valid"].dtype == bool
        np.testing.assert_array_equal(b["images"][:, 0, 0, 0], b["indices"] + COUNT)
        assert not (~b["valid"][:-1] & b["valid"][1:]).any()  # what completes comes last


@pytest.mark.parametrize(("group", "different"), [(4, 4), (5, 5), (8, 5)])
@pytest.mark.parametrize("most", [1, 3, 4, 5])
def test_a_batch_unit_holds_different_images(config, group, different, most):
    config = config.copy_and_resolve_references()
    config.eval.update(images=most, batch_size=3 * group)
    for batch in eval_batches(config, batch_unit=group):
        assert [len(set(row)) for row in batch["indices"].reshape(-1, group)] == [different] * 3


def test_hosts_share_the_evaluation(config):
    shares = [list(eval_batches(config, p, 2)) for p in range(2)]
    for step, batch in enumerate(eval_batches(config)):
        for name in ("images", "indices", "valid"):
            joined = np.concatenate([share[step][name] for share in shares])
            np.testing.assert_array_equal(joined, batch[name])


def test_nothing_to_evaluate(config):
    config = config.copy_and_resolve_references()
    config.eval.images = 0
    with pytest.raises(ConfigError, match=r"eval\.images is 0"):
        eval_batches(config)
