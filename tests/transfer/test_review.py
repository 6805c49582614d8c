"""What cross-validated answers tell about one's own pictures, and what they advise."""

from typing import Any

import cv2
import numpy as np
import pytest
from support.models import info
from support.teaching import picture
from support.trees import plain

from thumbnet.evaluation.scores import Answers, wilson
from thumbnet.pictures.framing import square
from thumbnet.transfer import review as module
from thumbnet.transfer.review import Copy, Review, WrongLabel, find_copies, review

NAMES = ("red", "green", "blue")


def answers(labels: list[int], taken: list[int], sure: float = 0.8) -> Answers:
    """Each picture is taken for this class, with this confidence; the others share the rest."""
    probabilities = np.full((len(labels), 3), (1 - sure) / 2, np.float32)
    probabilities[np.arange(len(labels)), taken] = sure
    return Answers(info(), np.array(labels, np.int64), probabilities, probabilities.max(axis=1))


def reviewed(labels: list[int], taken: list[int], *, sure: float = 0.8, copies: Any = ()) -> Review:
    found = answers(labels, taken, sure)
    return review(found, NAMES, found.labels, copies, 0.25)


def test_accuracy_has_its_interval() -> None:
    labels = [0] * 10 + [1] * 5 + [2] * 5
    found = reviewed(labels, [0] * 8 + [1] * 2 + [1] * 5 + [2] * 5)
    assert found.accuracy == (0.9, *wilson(18, 20))
    assert found.unknown_class == 0.25
    assert [(each.name, each.pictures) for each in found.classes] == [("red", 10), ("green", 5), ("blue", 5)]
    assert found.classes[0].accuracy == (0.8, *wilson(8, 10))


def test_a_handful_of_pictures_gives_no_accuracy() -> None:
    labels = [0] * 10 + [1] * 10 + [2] * 4
    found = reviewed(labels, labels)
    assert (found.accuracy, found.unknown_class) == (None, None)
    assert found.classes[2].accuracy is None
    assert found.classes[0].accuracy is not None
    assert reviewed([*labels, 2], [*labels, 2]).accuracy is not None


def test_without_answers_there_are_only_counts() -> None:
    labels = np.array([0, 1, 2])
    found = review(None, NAMES, labels, [])
    assert (found.accuracy, found.confusions, found.labels) == (None, [], [])
    assert [(each.pictures, each.accuracy) for each in found.classes] == [(1, None)] * 3


def test_confusions_are_counted_and_shown_the_surest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHOWN", 2)
    labels = [0] * 6 + [1] * 6 + [2] * 6
    found = answers(labels, [1, 1, 1, 2, 0, 0] + [1] * 6 + [2] * 6)
    found.probabilities[1] = (0.15, 0.85, 0)
    found.probabilities[2] = (0.25, 0.75, 0)
    confusions = review(found, NAMES, found.labels, []).confusions
    assert confusions == [(0, 1, 3, [1, 0]), (0, 2, 1, [3])]


def test_a_label_is_doubted_if_it_is_a_tenth_as_likely() -> None:
    labels = [0] * 6 + [1] * 6 + [2] * 6
    found = answers(labels, labels)
    found.probabilities[0] = (0.08, 0.85, 0.07)
    found.probabilities[1] = (0.10, 0.85, 0.05)
    found.probabilities[2] = (0.01, 0.09, 0.90)
    seen = review(found, NAMES, found.labels, [])
    assert seen.labels == [WrongLabel(2, 2, float(np.float32(0.9))), WrongLabel(0, 1, float(np.float32(0.85)))]
    assert seen.next == "Look at 2 pictures that may be in the wrong class."


def test_copies_with_different_labels_come_first() -> None:
    labels = [0] * 6 + [1] * 6 + [2] * 6
    found = reviewed(labels, labels, copies=[Copy(1, 0), Copy(7, 2)])
    assert found.copies == [Copy(7, 2), Copy(1, 0)]
    assert found.next == "Look at 1 picture that is in two classes: one of them is wrong."
    assert reviewed(labels, labels, copies=[Copy(1, 0)]).next.startswith("Show more red, as different")


@pytest.mark.parametrize(
    ("counts", "blue", "advice"),
    [
        ((6, 6, 1), [2], "Show more blue: 1 picture. "),
        ((6, 6, 6), [2] * 3 + [0, 1, 1], "Show more blue: 6 pictures, 2 of them taken for green."),
        ((30, 31, 9), [2] * 9, "Show more blue, as different as they come: 9 pictures so far."),
        ((30, 30, 30), [2] * 30, "Try it with new pictures."),
    ],
)  # fmt: skip
def test_the_next_step(counts: tuple[int, int, int], blue: list[int], advice: str) -> None:
    labels = np.repeat(range(3), counts).tolist()
    assert reviewed(labels, [*labels[: -counts[2]], *blue]).next.startswith(advice)


def squares(*contents: bytes) -> Any:
    return np.stack([square(content, module.SIDE, "stretch") for content in contents])


def test_copies_are_found() -> None:
    first, other = picture("red", 1), picture("red", 2)
    changed = np.clip(squares(first)[0] * 0.8 + 20, 0, 255).astype(np.uint8)
    seen = np.concatenate([squares(first, other, first), changed[None], changed[None, :, ::-1]])
    keys = ["a", "b", "a", "c", "d"]
    assert [copy.row for copy in find_copies(seen, keys)] == [2, 3, 4]
    assert find_copies(seen, keys, mirrored=False) == [Copy(2, 0), Copy(3, 0)]


def test_plain_pictures_are_no_copies_and_one_picture_has_none() -> None:
    assert find_copies(squares(plain(1, 1), plain(1, 2)), ["a", "b"]) == []
    assert find_copies(squares(plain(1, 1), plain(1, 1)), ["a", "a"]) == [Copy(1, 0)]
    assert find_copies(squares(plain(1, 1)), ["a"]) == []


def test_one_shape_in_two_colours_is_no_copy() -> None:
    def star(colour: tuple[int, int, int]) -> Any:
        drawn = np.full((module.SIDE, module.SIDE, 3), 230, np.uint8)
        for angle in np.linspace(0, 2 * np.pi, 5, endpoint=False):
            end = 16 + 12 * np.array([np.sin(angle), np.cos(angle)])
            cv2.line(drawn, (16, 16), (int(end[0]), int(end[1])), colour, 3)
        return drawn

    red, brighter, blue = star((180, 30, 30)), star((210, 50, 50)), star((30, 30, 180))
    assert find_copies(np.stack([red, brighter]), ["a", "b"]) == [Copy(1, 0)]
    for seen in ([red, blue], [red, blue[:, ::-1]]):
        assert find_copies(np.stack(seen), ["a", "b"]) == []
