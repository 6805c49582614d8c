"""The cache of features: what it keeps, and that nothing it meets stops a training."""

import sqlite3
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from thumbnet.errors import DataWarning
from thumbnet.files import cache_folder
from thumbnet.transfer import cache as module
from thumbnet.transfer.cache import Cache

SQUARE = b"s" * 32
VALUES = np.arange(5, dtype=np.float32)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def kept(path: Path, network: str = "net", number: int = 1) -> bool:
    with Cache(network, path) as cache:
        return cache.get(key(number)) is not None


def fill(path: Path, count: int = 1, network: str = "net") -> None:
    with Cache(network, path) as cache:
        for number in range(1, count + 1):
            cache.put(key(number), SQUARE, VALUES + number)


def test_what_is_put_is_there_at_once_and_later(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache"
    with Cache("net", path) as cache:
        assert cache.get(key(1)) is None
        cache.put(key(1), SQUARE, VALUES)
        assert cache.get(key(1)) is not None
    with Cache("net", path) as cache:
        found = cache.get(key(1))
        assert found is not None
        assert found[0] == SQUARE
        np.testing.assert_array_equal(found[1], VALUES)


def test_its_place_is_the_cache_folder() -> None:
    with Cache("net") as cache:
        cache.put(key(1), SQUARE, VALUES)
    assert (cache_folder() / module.FILE).is_file()


def test_another_network_has_its_own_features(tmp_path: Path) -> None:
    fill(tmp_path / "cache")
    assert kept(tmp_path / "cache")
    assert not kept(tmp_path / "cache", network="other")


def test_it_is_written_from_time_to_time_and_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 2)
    cache = Cache("net", tmp_path / "cache")
    for number in (1, 2):
        cache.put(key(number), SQUARE, VALUES)
    assert kept(tmp_path / "cache", number=2)  # as another process sees it
    cache.put(key(3), SQUARE, VALUES)
    assert not kept(tmp_path / "cache", number=3)
    with pytest.raises(KeyboardInterrupt), cache:
        raise KeyboardInterrupt
    assert kept(tmp_path / "cache", number=3)


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_damaged_value_is_not_used(place: int, tmp_path: Path) -> None:
    fill(tmp_path / "cache")
    file = sqlite3.connect(tmp_path / "cache")
    [value] = file.execute("SELECT value FROM features").fetchone()
    spoilt = bytearray(value)
    spoilt[place] ^= 1
    with file:
        file.execute("UPDATE features SET value = ?", (bytes(spoilt),))
    file.close()
    assert not kept(tmp_path / "cache")
    fill(tmp_path / "cache")
    assert kept(tmp_path / "cache")


@pytest.mark.parametrize("value", [None, 5, "text", b""])
def test_a_value_of_another_kind_is_not_used(value: object, tmp_path: Path) -> None:
    fill(tmp_path / "cache")
    with sqlite3.connect(tmp_path / "cache") as file:
        file.execute("UPDATE features SET value = ?", (value,))
    file.close()
    assert not kept(tmp_path / "cache")


@pytest.mark.parametrize("garbage", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_garbage_is_replaced(garbage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.write_bytes(garbage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        fill(path)  # damage that shows late costs one run without a cache
        fill(path)
    assert kept(path)


def test_a_file_cut_off_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    fill(path, 200)
    path.write_bytes(path.read_bytes()[:-9000])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        fill(path, 200)
        fill(path, 200)
    assert kept(path, number=200)


def test_a_place_that_cannot_be_used_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.warns(DataWarning, match=r"file/cache: features cannot be kept here") as caught:
        fill(tmp_path / "file" / "cache")
    assert len(caught) == 1
    (tmp_path / "folder").mkdir()
    with pytest.warns(DataWarning, match="cannot be kept here"):
        fill(tmp_path / "folder")
    assert (tmp_path / "folder").is_dir()


def test_a_disk_that_fills_up_ends_the_keeping_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "cache")
    with Cache("net", tmp_path / "cache") as cache:
        assert cache._file is not None
        cache._file.execute("PRAGMA max_page_count = 1")  # SQLite reports "database or disk is full" then
        monkeypatch.setattr(module, "ROWS", 10)
        large = np.ones(5000, np.float32)
        for number in range(2, 11):
            cache.put(key(number), SQUARE, large)
        with pytest.warns(DataWarning, match="full"):
            cache.put(key(11), SQUARE, large)
        assert cache.get(key(1)) is None
    assert kept(tmp_path / "cache")


def test_it_stays_below_its_bound_and_drops_what_was_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache"
    monkeypatch.setattr(module, "MOST_BYTES", 2**18)
    now = iter(range(10_000))
    monkeypatch.setattr("time.time", lambda: next(now))
    large = np.ones(1000, np.float32)
    for start in range(0, 400, 20):
        with Cache("net", path) as cache:
            cache.get(key(1))  # is used again and again
            for number in range(start + 1, start + 21):
                cache.put(key(number), SQUARE, large)
    assert path.stat().st_size < 2**19
    assert kept(path, number=1)
    assert not kept(path, number=2)
    assert kept(path, number=400)


def test_two_processes_at_once(tmp_path: Path) -> None:
    with Cache("net", tmp_path / "cache") as one, Cache("net", tmp_path / "cache") as other:
        one.put(key(1), SQUARE, VALUES)
        other.put(key(1), SQUARE, VALUES)
        other.put(key(2), SQUARE, VALUES)
    assert kept(tmp_path / "cache", number=1)
    assert kept(tmp_path / "cache", number=2)


def test_processes_that_make_the_file_at_once(tmp_path: Path) -> None:
    start = threading.Barrier(4)

    def work(number: int) -> None:
        for turn in range(20):
            start.wait()
            with Cache("net", tmp_path / f"cache{turn}") as cache:
                cache.put(key(number), SQUARE, VALUES)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [str(each.message) for each in caught] == []
    assert all(kept(tmp_path / f"cache{turn}", number=number) for turn in range(20) for number in range(4))


def test_threads_share_it(tmp_path: Path) -> None:
    with Cache("net", tmp_path / "cache") as cache:
        problems: list[BaseException] = []

        def work(start: int) -> None:
            try:
                for number in range(start, start + 300):
                    cache.put(key(number), SQUARE, VALUES)
                    assert cache.get(key(number)) is not None
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=work, args=(start,)) for start in (0, 1000, 2000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert problems == []
    assert kept(tmp_path / "cache", number=2299)
