import random

import pytest

from app.costs import CostModel


def test_knows_nothing_before_the_first_batch() -> None:
    assert CostModel().predict(1000, 10) == 0.0


def test_one_size_of_batch_gives_the_mean_rate() -> None:
    costs = CostModel()
    for _ in range(10):
        costs.observe(100, 0.5)
    assert costs.predict(200, 2) == pytest.approx(1.0)


def test_separates_the_start_from_the_tokens() -> None:
    costs = CostModel()
    noise = random.Random(1)
    for _ in range(200):
        tokens = noise.randint(8, 2000)
        costs.observe(tokens, (0.004 + 0.0001 * tokens) * noise.uniform(0.95, 1.05))
    assert costs.predict(10_000, 5) == pytest.approx(1.02, rel=0.05)
    assert costs.start_in_tokens() == pytest.approx(40, rel=0.5)


def test_follows_a_machine_that_slows_down() -> None:
    costs = CostModel()
    for tokens in [100, 1000] * 100:
        costs.observe(tokens, tokens * 0.001)
    for tokens in [100, 1000] * 150:
        costs.observe(tokens, tokens * 0.002)
    assert costs.predict(1000, 1) == pytest.approx(2.0, rel=0.05)


def test_noise_never_makes_a_negative_cost() -> None:
    costs = CostModel()
    costs.observe(10, 0.9)
    costs.observe(1000, 0.1)
    assert 0 < costs.predict(10, 1) < costs.predict(1000, 1)
    assert costs.start_in_tokens() == 0
