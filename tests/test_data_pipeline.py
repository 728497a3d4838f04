"""The order of images: known from seed and step, shared by hosts, resumed exactly."""

import itertools

import numpy as np
import pytest
from PIL import Image

from hcflow_jax.config import ConfigError, default
from hcflow_jax.data.pipeline import eval_batches, init_images, train_batches

COUNT = 10  # training images; not a multiple of the batch, so batches span epochs


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(COUNT + 5):
        Image.new("RGB", (4, 4), (i, 2 * i, 3 * i)).save(folder / f"{i:03d}.png")
    config = default()
    config.data.update(source="folder", path=str(folder), resolution=4, eval_images=5)
    config.train.batch_size = 4
    config.train.init_images = 6
    config.eval.update(images=100, batch_size=4)
    return config


def _take(config, start: int, count: int, *share: int) -> list[dict]:
    return list(itertools.islice(train_batches(config, start, *share), count))


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


# Steps 2 and 7 span two epochs, step 5 begins one.
@pytest.mark.parametrize("start", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("threads", [0, 2])
def test_resumes_exactly(config, start, threads):
    config = config.copy_and_resolve_references()
    config.data.read_threads = threads
    whole, rest = _take(config, 0, 12), _take(config, start, 12 - start)
    for a, b in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(a["indices"], b["indices"])
        np.testing.assert_array_equal(a["images"], b["images"])


def test_far_resume_costs_nothing(config):
    assert _order(_take(config, 10**9, 1)) == _order(_take(config, 10**9 - 1, 2))[4:]


@pytest.mark.parametrize("hosts", [2, 4])
@pytest.mark.parametrize("start", [0, 3])
def test_hosts_share_the_global_batch(config, hosts, start):
    whole = _take(config, start, 6)
    shares = [_take(config, start, 6, p, hosts) for p in range(hosts)]
    for step, batch in enumerate(whole):
        for name in ("images", "indices"):
            joined = np.concatenate([share[step][name] for share in shares])
            np.testing.assert_array_equal(joined, batch[name])


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


def test_initialisation_takes_the_first_of_the_order(config):
    images, batches = init_images(config), _take(config, 0, 2)
    np.testing.assert_array_equal(images, np.concatenate([b["images"] for b in batches])[:6])


def test_more_initial_images_than_there_are(config):
    config = config.copy_and_resolve_references()
    config.train.init_images = COUNT + 1
    with pytest.raises(ConfigError, match=rf"train\.init_images is {COUNT + 1}"):
        init_images(config)


@pytest.mark.parametrize(
    ("most", "batch", "indices", "valid"),
    [
        (100, 4, [[0, 1, 2, 3], [4, 0, 1, 2]], [4, 1]),
        (3, 4, [[0, 1, 2, 0]], [3]),
        (4, 2, [[0, 1], [2, 3]], [2, 2]),
        (2, 6, [[0, 1, 0, 1, 0, 1]], [2]),
    ],
)
def test_evaluation_completes_the_last_batch(config, most, batch, indices, valid):
    config = config.copy_and_resolve_references()
    config.eval.update(images=most, batch_size=batch)
    batches = list(eval_batches(config))
    assert [b["indices"].tolist() for b in batches] == indices
    assert [int(b["valid"].sum()) for b in batches] == valid
    for b in batches:
        assert b["images"].dtype == np.uint8 and b["indices"].dtype == np.int64 and b["valid"].dtype == bool
        np.testing.assert_array_equal(b["images"][:, 0, 0, 0], b["indices"] + COUNT)
        assert not (~b["valid"][:-1] & b["valid"][1:]).any()  # what completes comes last


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
