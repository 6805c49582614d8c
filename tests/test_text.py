"""text: what is escaped, cut, counted and sorted."""

import pytest

from thumbnet.text import first_few, natural_key, one_line, printable, shorten, width


def test_a_line_has_200_characters_at_most() -> None:
    assert one_line(" a\nb\x1bc ") == "a b c"
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 201) == "x" * 199 + "…"


def test_ten_things_are_listed_and_the_others_counted() -> None:
    letters = list("abcdefghijklm")
    assert first_few(letters[:10]) == "a, b, c, d, e, f, g, h, i, j"
    assert first_few(letters) == "a, b, c, d, e, f, g, h, i, j and 3 more"
    assert first_few([]) == "nothing"


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("猫", 2), ("e\u0301", 1), ("ｗ", 2), ("", 0)])
def test_columns_are_counted_as_terminals_do(text: str, columns: int) -> None:
    assert width(text) == columns


def test_a_wide_text_is_cut_to_its_columns() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
    assert shorten("猫猫猫猫", 6) == "猫猫…"


def test_what_steers_a_terminal_is_escaped() -> None:
    assert printable("ä猫\x1b[2J\u202e\udcff\n") == r"ä猫\x1b[2J\u202e\udcff\n"


def test_numbers_are_sorted_by_value() -> None:
    names = ["img10", "img2", "img1b", "img01", "img1"]
    assert sorted(names, key=natural_key) == ["img01", "img1", "img1b", "img2", "img10"]
