"""Read a table of labels beside pictures, as spreadsheets and Kaggle write it: CSV, a row for each picture."""

import csv
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from thumbnet.data.dataset import named_once, settle_names
from thumbnet.data.folder import UNREADABLE_SHARE, Role, Tree, role_of
from thumbnet.data.store import Store
from thumbnet.errors import DataError, DataWarning
from thumbnet.pictures.kinds import meant_as_picture
from thumbnet.text import first_few, natural_key, one_line

MAX_TABLE = 2**28  # bytes
SUFFIXES = (".csv", ".tsv")
# The tables that are looked for in a folder; the first one found counts.
TABLES = ("labels", "label", "trainlabels", "train", "training", "annotations", "metadata")
# The columns' names without case, spaces and signs, the likeliest first: a class's name comes before its number.
FILES = (
    "file", "filename", "filepath", "path", "relativepath", "imagepath", "imgpath", "imagefile", "imagename", "imgname",
    "imagefilename", "picture", "photo", "image", "img", "imageid", "imgid", "pictureid", "id", "name",
)  # fmt: skip
LABELS = (
    "labelname", "classname", "categoryname", "label", "labels", "class", "category", "target", "species", "breed",
    "classlabel", "classid", "labelid", "categoryid", "y",
)  # fmt: skip
SPLITS = ("split", "set", "subset", "partition")


class OtherTableError(DataError):
    """A table of something else: it has no labels, or names none of the pictures."""


class Row(NamedTuple):
    """A picture that a table names."""

    file: str  # as the table has it
    label: str
    role: Role | None


def find(store: Store) -> str | None:
    """The table of labels in a folder, or nothing; only its name is looked at."""
    tables = {_plain(PurePosixPath(file).stem): file for file in store.files if _is_table(file) and "/" not in file}
    return next((tables[name] for name in TABLES if name in tables), None)


def _is_table(file: str) -> bool:
    return file.lower().endswith(SUFFIXES)


def read_table(store: Store, table: str, known: Sequence[str] | None = None) -> Tree:
    """List the pictures that a table names, with their labels.

    Args:
        store: Where the pictures and the table lie. A picture may be named without its suffix, and without its folder
            if no other has its name.
        table: The table's name in it: CSV with commas, semicolons or tabs, in UTF-8 or UTF-16. It has a column for the
            file and one for the label, and may have one for the split.
        known: A model's class names, see `dataset.settle_names`.

    Raises:
        OtherTableError: It lacks a column, or none of its pictures is there.
        DataError: It cannot be read; more than a tenth of its pictures are not there; a name
            leaves the folder or fits several pictures; or a picture has two labels.
    """
    where = f"{store.where}/{table}"
    rows = _rows(store.read(table, MAX_TABLE + 1), where)
    pictures = _Pictures([file for file in store.files if meant_as_picture(file)], where)
    own_role = role_of(PurePosixPath(table).stem.casefold().removesuffix("labels").rstrip("_- "))
    labelled: dict[str, Row] = {}
    missing: list[str] = []
    for row in rows:
        fits = pictures.find(row.file, row.role or own_role)
        if len(fits) > 1:
            # A list of classes and their numbers, beside folders named like the classes, is no table of files.
            kind = OtherTableError if {row.label for row in rows} <= set(store.folders) else DataError
            raise kind(f"{where}: {one_line(row.file)} may be any of {first_few(fits)}. Name its folder, too")
        file = fits[0] if fits else None
        if file is None:
            missing.append(one_line(row.file))
        elif (other := labelled.setdefault(file, row)) != row and (other.label, other.role) != (row.label, row.role):
            raise DataError(
                f"{where}: {file} is there twice, with different labels or splits: {one_line(other.label)} and "
                f"{one_line(row.label)}. Expected one for each picture"
            )
    if missing:
        report = f"{where}: {len(missing):,} of {len(rows):,} pictures are not there: {first_few(missing)}"
        if len(missing) > UNREADABLE_SHARE * len(rows):
            kind = DataError if labelled else OtherTableError
            raise kind(f"{report}. That is more than {UNREADABLE_SHARE:.0%}: expected them beside the table")
        warnings.warn(f"{report}. They are left out", DataWarning, stacklevel=3)
    if unlisted := pictures.count - len(labelled):
        report = f"{where}: {unlisted:,} pictures in this folder are not in the table and are left out"
        warnings.warn(report, DataWarning, stacklevel=3)
    names, places = settle_names({row.label for row in labelled.values()}, known)
    parts = _parts(labelled, where)
    return Tree(store, names, [[(places[labelled[file].label], file) for file in part] for part in parts])


def _parts(labelled: dict[str, Row], where: str) -> list[list[str]]:
    """Training and test files, or all if the table does not split them; in natural order."""
    by_file = {file: row.role for file, row in labelled.items()}
    if not any(by_file.values()):  # their folders may be the splits
        by_folder = {file: role_of(file.partition("/")[0]) for file in by_file}
        by_file = by_folder if all(by_folder.values()) else by_file
    roles: dict[Role | None, list[str]] = {}
    for file in sorted(by_file, key=natural_key):
        roles.setdefault(by_file[file], []).append(file)
    if len(roles) == 1:
        return list(roles.values())
    test: Role = "test" if "test" in roles else "validation"
    if "train" not in roles or test not in roles:
        raise DataError(f"{where}: expected rows of the splits train and test, got {first_few(map(str, roles))}")
    if unused := sum(len(files) for role, files in roles.items() if role not in ("train", test)):
        report = f"{where}: train and {test} are read; {unused:,} pictures of another split are left unused"
        warnings.warn(report, DataWarning, stacklevel=4)
    return [roles["train"], roles[test]]


def _rows(content: bytes, where: str) -> list[Row]:
    if len(content) > MAX_TABLE:
        raise DataError(f"{where}: expected a table of at most {MAX_TABLE // 2**20} MiB")
    text = _text(content, where)
    first = text.partition("\n")[0]
    if stated := re.fullmatch("sep=(.)\r?", first):  # as Excel writes and reads it
        text = text.partition("\n")[2]
    delimiter = stated[1] if stated else max(",;\t", key=first.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = next(reader, [])
        cells = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{where}: this table is broken: {error}. Save it as CSV again") from error
    columns = [_plain(name) for name in header]
    file, label, split = (_column(columns, names) for names in (FILES, LABELS, SPLITS))
    if file is not None and label is None and len(columns) == 2:
        label = 1 - file
    if file is None or label is None:
        found = first_few(one_line(name) for name in header)
        raise OtherTableError(f"{where}: expected columns such as file and label, found {found}")
    rows = []
    for cell in cells:
        name, answer = (cell[place].strip() if place < len(cell) else "" for place in (file, label))
        if not name or not answer:
            raise DataError(f"{where}: expected a file and a label in each row, got {one_line(delimiter.join(cell))!r}")
        said = cell[split].strip() if split is not None and split < len(cell) else ""
        role = role_of(said)
        if split is not None and role is None:
            raise DataError(f"{where}: expected train, test or validation as the split, got {one_line(said)!r}")
        rows.append(Row(name, answer, role))
    if not rows:
        raise DataError(f"{where}: expected a row for each picture, got none")
    return rows


def _text(content: bytes, where: str) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected a table in UTF-8 or UTF-16: {error}. Save it so") from error


def _column(columns: list[str], names: Sequence[str]) -> int | None:
    return next((columns.index(name) for name in names if name in columns), None)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


class _Pictures:
    """The pictures in a folder, to be found as tables name them."""

    def __init__(self, files: list[str], where: str) -> None:
        self.count, self._where = len(files), where
        self._by_name: dict[str, list[str]] = {}  # without folder and suffix
        for file in files:
            self._by_name.setdefault(_bare(named_once(file)), []).append(file)

    def find(self, named: str, role: Role | None) -> list[str]:
        """The pictures that a table may mean; those of the row's own split, if several fit.

        Raises:
            DataError: The name leaves the folder.
        """
        plain = named_once(named.replace("\\", "/"))
        if plain.startswith("/") or re.match("[A-Za-z]:", plain) or ".." in plain.split("/"):
            raise DataError(f"{self._where}: expected names of files in this folder, got {one_line(named)}")
        path = "/".join(part for part in plain.split("/") if part not in ("", "."))
        # A suffix that is none is part of the name, as in `img.0001`.
        keys = {_bare(path), path.rpartition("/")[2]}
        near = [file for key in keys for file in self._by_name.get(key, [])]
        fits = [file for file in near if _same_end(named_once(file), path)]
        if exact := [file for file in fits if named_once(file) == path]:
            return exact[:1]
        return [file for file in fits if role and role in map(role_of, file.split("/")[:-1])] or fits


def _bare(path: str) -> str:
    """A path's last part, without the suffix of a picture."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] if meant_as_picture(name) else name


def _same_end(file: str, named: str) -> bool:
    """Whether one of the two paths ends with the other, as far as that one names folders and a suffix."""
    if not meant_as_picture(named):
        file = file.rpartition(".")[0]
    return f"/{file}".endswith(f"/{named}") or f"/{named}".endswith(f"/{file}")
