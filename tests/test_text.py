"""text: what is printed steers no terminal, and what people read is left as it is."""

import sys
import unicodedata

import pytest
from support.models import info

from thumbnet.errors import ModelError
from thumbnet.model.info import ModelInfo
from thumbnet.text import CONTROL, first_few, natural_key, one_line, printable, shorten, width

# Unicode's property Bidi_Control: these show text in another order than it is in.
BIDIRECTIONAL = [*"\u061c\u200e\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))]
STEERING = [*"\0\t\n\r\x1b\x7f\x85\x9b\u2028\u2029\ud800\udcff", *BIDIRECTIONAL]
READ = [
    "Füße",
    "猫 犬",
    "גירפה",
    "زرافة",
    "می\u200cخواهم",
    "👨\u200d👩\u200d👧 ☺\ufe0f",
    "東\u3000京",
    "3\u202fPM",
    "10\xa0kg",
    "back\\slash",
]


@pytest.mark.parametrize("character", STEERING, ids=ascii)
def test_what_steers_a_terminal_is_escaped_and_no_name_holds_it(character: str) -> None:
    assert printable(f"a{character}b") == f"a{character.encode('unicode_escape').decode()}b"
    assert printable(f"a{character}b").isascii()
    assert CONTROL.search(f"a{character}b")
    with pytest.raises(ModelError, match="names must differ and hold no control characters"):
        ModelInfo.from_metadata(info(names=("a", f"b{character}c")).to_metadata())


@pytest.mark.parametrize("text", READ)
def test_what_people_read_is_left_as_it_is(text: str) -> None:
    assert printable(text) == text
    names = ("a", text)
    assert ModelInfo.from_metadata(info(names=names).to_metadata()).names == names


@pytest.mark.parametrize("character", ["\u200b", "\u2060", "\ufeff", "\xad", "\U000e0041", "\ue000"], ids=ascii)
def test_what_cannot_be_seen_is_escaped(character: str) -> None:
    assert printable(f"a{character}b") == f"a{character.encode('unicode_escape').decode()}b"


def test_control_characters_are_all_that_steer() -> None:
    """By Unicode's categories: Cc, Cs, Zl and Zp, and the characters that are named Bidi_Control."""
    found = {character for character in map(chr, range(sys.maxunicode + 1)) if CONTROL.search(character)}
    by_category = {
        each for each in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")
    }
    assert found == by_category | set(BIDIRECTIONAL)


def test_one_line_is_short_and_printable() -> None:
    assert one_line(" a\nb\x1b[31m\u202ec ") == "a b [31m c"
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 201) == "x" * 199 + "…"


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("猫", 2), ("e\u0301", 1), ("Ａ", 2), ("", 0)])
def test_width_is_in_columns(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "short"),
    [("abcd", 4, "abcd"), ("abcde", 4, "abc…"), ("猫犬鳥", 5, "猫犬…"), ("猫犬", 3, "猫…")],
)
def test_shortened_text_fits(text: str, columns: int, short: str) -> None:
    assert shorten(text, columns) == short
    assert width(short) <= columns


def test_first_few_counts_the_rest() -> None:
    assert first_few([]) == "nothing"
    assert first_few(map(str, range(10))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert first_few(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


def test_numbers_are_sorted_as_people_sort() -> None:
    names = ["10", "9", "a10", "a9", "a09", "a", "9a", ""]
    assert sorted(names, key=natural_key) == ["", "9", "9a", "10", "a", "a09", "a9", "a10"]
