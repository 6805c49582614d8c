"""Print docs/commands.md: the help of every command, as the program gives it. `make docs` runs this."""

import contextlib
import io
import os

from thumbnet.cli import main

COMMANDS = ([], ["predict"], ["train"], ["evaluate"], ["check-data"], ["serve"], ["teach"], ["export"], ["info"])


def page() -> str:
    """The whole page, at a width of 100 columns."""
    os.environ.update(COLUMNS="100", NO_COLOR="1")
    about = "This page lists all commands and options, as `thumbnet COMMAND --help` prints them. `make docs` writes it."
    parts = [f"# Commands\n\n{about}\n"]
    for command in COMMANDS:
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main([*command, "--help"])
        title = " ".join(["thumbnet", *command])
        parts.append(f"## {title}\n\n```\n{text.getvalue().strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
