"""errors: the tree that the docstring draws is the tree that there is."""

import pytest

from thumbnet import errors
from thumbnet.errors import DataWarning, MissingExtraError, ThumbnetError, needs


def drawn(root: type, before: str = "") -> list[str]:
    """The names below a class, drawn as in the docstring. Other modules may have kinds of their own below these."""
    lines = []
    every: list[type] = root.__subclasses__()
    below = [each for each in every if each.__module__ == errors.__name__]
    for place, each in enumerate(below):
        last = place == len(below) - 1
        lines.append(f"{before}{'└── ' if last else '├── '}{each.__name__}")
        lines += drawn(each, before + ("    " if last else "│   "))
    return lines


def test_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    text = (errors.__doc__ or "").splitlines()
    tree = [line.strip() for line in text if "──" in line]
    names = [line[: line.index("Error") + len("Error")] for line in tree]
    assert names == drawn(ThumbnetError)


def test_every_class_is_in_the_docstring() -> None:
    defined = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert "MissingExtraError" in defined
    assert all(name in (errors.__doc__ or "") for name in defined)
    assert all(issubclass(getattr(errors, name), ThumbnetError) for name in defined - {"DataWarning"})


def test_warning_is_no_error() -> None:
    assert issubclass(DataWarning, UserWarning)
    assert not issubclass(DataWarning, ThumbnetError)


def test_missing_extra_names_the_command() -> None:
    with pytest.raises(MissingExtraError, match=r"^training needs keras.*: pip install 'thumbnet\[train\]'$"):
        raise MissingExtraError("training", "keras", "train")


def test_what_needs_an_extra_names_it() -> None:
    message = r"^flying needs wings, which .*: pip install 'thumbnet\[air\]'$"
    with pytest.raises(MissingExtraError, match=message), needs("flying", "air"):
        raise ModuleNotFoundError("No module named 'wings.left'", name="wings.left")
    with pytest.raises(ModuleNotFoundError, match="thumbnet"), needs("flying", "air"):
        raise ModuleNotFoundError("No module named 'thumbnet.wings'", name="thumbnet.wings")
