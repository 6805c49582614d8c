"""Weighted semaphores."""

import threading

import pytest

from thumbnet.semaphore import WeightedSemaphore


def started(semaphore: WeightedSemaphore, weight: int) -> tuple[threading.Thread, threading.Event]:
    """A thread that takes a weight, and the event that it has it."""
    has = threading.Event()

    def work() -> None:
        with semaphore.take(weight):
            has.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, has


@pytest.mark.parametrize(("weight", "fits"), [(6, True), (7, False)])
def test_weights_share_what_there_is(weight: int, fits: bool) -> None:
    semaphore = WeightedSemaphore(10)
    with semaphore.take(4):
        thread, has = started(semaphore, weight)
        assert has.wait(5 if fits else 0.2) == fits
    thread.join(5)
    assert has.is_set()


def test_what_is_more_than_all_has_it_alone() -> None:
    semaphore = WeightedSemaphore(10)
    with semaphore.take(1000):
        thread, has = started(semaphore, 1)
        assert not has.wait(0.2)
    thread.join(5)
    assert has.is_set()


def test_light_work_waits_behind_heavy_work() -> None:
    semaphore = WeightedSemaphore(10)
    with semaphore.take(1):
        heavy, _ = started(semaphore, 10)
        heavy.join(0.2)
        light, has = started(semaphore, 1)
        assert not has.wait(0.2)
    for thread in (heavy, light):
        thread.join(5)
    assert has.is_set()


def test_a_failure_gives_back_what_it_took() -> None:
    semaphore = WeightedSemaphore(10)
    with pytest.raises(ValueError, match="broken"), semaphore.take(10):
        raise ValueError("broken")
    _, has = started(semaphore, 10)
    assert has.wait(5)
