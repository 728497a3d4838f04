"""Rates, freeze and EMA decay at steps computed by hand."""

import numpy as np
import pytest

from hcflow_jax import config as schema
from hcflow_jax.training.schedule import schedule


def make(**train):
    config = schema.default()
    config.train.update(dict(batch_size=4, num_steps=2_000, images_per_epoch=40))  # 10 steps an epoch
    config.train.update(train)
    return schedule(config, train_images=123, frozen_group="encoder")


def rates(plan, step):
    return {group: float(rate) for group, rate in plan.rates(step).items()}


BASE = {"encoder": 5e-4, "decoder": 2e-3, "flows": 5e-3}


@pytest.mark.parametrize(
    ("step", "decays"),
    [(0, 0), (100, 0), (110, 0), (119, 0), (120, 1), (130, 1), (139, 1), (140, 2), (160, 3)],
)
def test_rates_decay_at_even_epochs_from_12_on(step, decays):
    factors = {"encoder": 0.92, "decoder": 0.95, "flows": 0.95}
    expected = {group: BASE[group] * factors[group] ** decays for group in BASE}
    assert rates(make(), step) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("after", "first"), [(10, 120), (11, 120), (0, 20), (1, 20)])
def test_first_decay(after, first):
    plan = make(decay_after=after)
    assert rates(plan, first - 1)["flows"] == pytest.approx(5e-3, rel=1e-6)
    assert rates(plan, first)["flows"] == pytest.approx(5e-3 * 0.95, rel=1e-6)


def test_encoder_is_frozen_from_its_epoch_on():
    plan = make(freeze_epoch=60)
    assert plan.freeze_step == 600
    assert not plan.frozen(599) and plan.frozen(600)
    assert rates(plan, 599)["encoder"] > 0
    assert rates(plan, 600)["encoder"] == 0
    assert rates(plan, 600)["decoder"] > 0
    assert make(freeze_epoch=0).freeze_step is None


@pytest.mark.parametrize("share", [0.9, 0.5, 0.01])
def test_the_step_from_which_little_of_a_rate_is_left(share):
    plan = make(decay={"encoder": 0.92, "decoder": 1.0, "flows": 0.001}, freeze_epoch=0)
    for group in ("encoder", "flows"):
        step = plan.fallen(group, share)
        assert step is not None
        assert rates(plan, step - 1)[group] > share * BASE[group] >= rates(plan, step)[group]
    assert plan.fallen("decoder", share) is None  # never
    assert make(num_steps=100).fallen("encoder", share) is None  # not in this run


def test_warmup_is_linear_from_0():
    plan = make(warmup_steps=50)
    values = [rates(plan, step)["decoder"] for step in (0, 1, 25, 50, 60)]
    assert values == pytest.approx([0, 2e-3 / 50, 1e-3, 2e-3, 2e-3], rel=1e-6)


def test_a_warmup_in_images_follows_the_images_of_every_batch_size():
    plan = make(warmup_images=200)  # batches of 4
    values = [rates(plan, step)["decoder"] for step in (0, 1, 25, 50, 60)]
    assert values == pytest.approx([0, 2e-3 / 50, 1e-3, 2e-3, 2e-3], rel=1e-6)
    config = schema.default()
    config.train.update(dict(batch_size=4, warmup_images=200))
    resumed = schedule(config, 123, offset=10 * 8 - 10 * 4)  # ten steps of 8 images came first
    assert rates(resumed, 10)["decoder"] == pytest.approx(2e-3 * 80 / 200, rel=1e-6)


def test_without_a_frozen_group_every_group_always_learns():
    config = schema.default()
    config.train.update(dict(batch_size=4, images_per_epoch=40, freeze_epoch=1))
    plan = schedule(config, 123)
    assert plan.freeze_step is None and not plan.frozen(1_000)
    assert rates(plan, 1_000)["encoder"] > 0


def test_final_decay_is_linear_to_0_over_the_last_part():
    plan = make(num_steps=100, final_decay=0.25)
    values = [rates(plan, step)["flows"] for step in (75, 80, 90, 99, 100)]
    assert values == pytest.approx([5e-3, 5e-3 * 0.8, 5e-3 * 0.4, 5e-3 * 0.04, 0], rel=1e-5)


def test_epochs_that_are_no_whole_number_of_steps():
    plan = make(images_per_epoch=10)  # epoch = floor(4 step / 10): epoch 1 begins with step 3, 2 with 5
    assert [plan.first_step(epoch) for epoch in range(4)] == [0, 3, 5, 8]
    epochs = [4 * step // 10 for step in range(40)]
    assert [sum(step >= plan.first_step(e) for e in range(1, 17)) for step in range(40)] == epochs


def test_epochs_count_images_where_the_batch_was_another():
    config = schema.default()
    config.train.update(dict(batch_size=4, num_steps=2_000, images_per_epoch=40, freeze_epoch=13))
    # 100 steps of 12 images, then of 4: an epoch is ten steps from there on, and 30 of them are over.
    plan = schedule(config, 123, offset=100 * 12 - 100 * 4, frozen_group="encoder")
    assert [plan.first_step(epoch) for epoch in (0, 1, 30, 31, 32)] == [0, 0, 100, 110, 120]
    assert plan.frozen(100) and float(plan.ema_decay(100)) == pytest.approx(0.995)
    assert rates(plan, 100)["flows"] == pytest.approx(5e-3 * 0.95**10, rel=1e-6)  # epochs 12, 14, ... 30
    # 100 steps of 2 images: five epochs, and the next begins when 40 more were used.
    plan = schedule(config, 123, offset=100 * 2 - 100 * 4, frozen_group="encoder")
    assert [plan.first_step(epoch) for epoch in (5, 6, 7)] == [100, 110, 120]
    assert not plan.frozen(179) and plan.frozen(180)
    assert rates(plan, 169)["flows"] == pytest.approx(5e-3, rel=1e-6)
    assert rates(plan, 170)["flows"] == pytest.approx(5e-3 * 0.95, rel=1e-6)


def test_epoch_is_the_training_set_unless_said():
    assert make(images_per_epoch=0).images_per_epoch == 123


def test_ema_copies_during_epoch_0_only():
    plan = make()
    assert [float(plan.ema_decay(step)) for step in (0, 9)] == [0, 0]
    np.testing.assert_allclose([plan.ema_decay(10), plan.ema_decay(999)], 0.995, rtol=1e-6)


def test_a_long_run_does_not_overflow():
    plan = make(num_steps=2**30, images_per_epoch=3_000_000, batch_size=2_048, decay_after=1_000_000)
    assert rates(plan, 2**30 - 1)["flows"] == pytest.approx(5e-3, rel=1e-6)
    assert plan.first_step(2) == 2_930
