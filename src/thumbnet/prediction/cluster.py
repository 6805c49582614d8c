"""Many pictures → rows, with Ray Data, on all cores of one machine or of a cluster.

    arguments → sources, in blocks → actors that read, decode and answer → rows, in shards → FOLDER

An actor answers its block by `bulk.predict`, so the rows are those of one machine, to the last digit. Their order may
differ. Ray decides how many actors there are and where, how fast blocks reach them, and what is repeated after a kill.
"""

# A source stays the text that the user typed, as its row repeats it; pathlib would normalise it.
# ruff: noqa: PTH100, PTH109, PTH112, PTH118

import contextlib
import functools
import glob
import io
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thumbnet.errors import MissingExtraError, ModelError, SourceError, ThumbnetError
from thumbnet.files import exclusive, write_atomically
from thumbnet.model.classifier import Classifier
from thumbnet.pictures.kinds import meant_as_picture
from thumbnet.prediction import bulk, rows
from thumbnet.prediction.rows import Row
from thumbnet.sources.expand import expand
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import MAX_BYTES
from thumbnet.sources.read import read as read_source
from thumbnet.sources.urls import is_url
from thumbnet.text import one_line

try:
    import pyarrow as pa
    import ray
    import ray.data
    from pyarrow import fs, parquet
    from ray.data.block import BlockAccessor
except ImportError as error:
    raise MissingExtraError("--engine ray", str(error.name).partition(".")[0], "scale") from None

FORMATS = ("jsonl", "parquet")
STORES = ("s3", "gs")  # schemes of objects in a store; all others name pages of servers
BUCKET = re.compile(r"[A-Za-z0-9._-]+")
PATIENCE = 30  # seconds for which a request to Google's store is retried; the default of Google's client is minutes
BLOCK = 256  # sources that an actor gets at a time
SHARD = 16 * BLOCK  # rows that a shard has at least, except for the last ones
LOCK = "_LOCK"  # a file that exists and is locked while a run writes; readers of such folders ignore it
DONE = "_SUCCESS"  # an empty file that is written after all shards; readers of such folders ignore it
# An actor computes with one thread, on one core. The rest of that core is for the tasks that read Parquet and write
# shards: if each actor took a whole core, these tasks would never start.
ACTOR, TASK = 0.9, 0.05  # CPUs, as Ray counts them

# Texts are bytes until they are in a row, as the name of a file need not be UTF-8.
SOURCES = pa.schema([("source", pa.binary()), ("content", pa.large_binary()), ("failure", pa.binary())])
GROUPS = pa.schema([("file", pa.binary()), ("group", pa.int32()), ("first", pa.int64())])
LINES = pa.schema([("line", pa.binary()), ("failed", pa.bool_())])
ROWS = pa.schema(
    [
        ("source", pa.string()),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("known", pa.bool_()),
        ("sureness", pa.float64()),
        ("network", pa.string()),
        ("top", pa.list_(pa.struct([("label", pa.string()), ("confidence", pa.float64())]))),
        ("error", pa.struct([("type", pa.string()), ("message", pa.string())])),
    ]
)


def predict(
    model: bytes,
    arguments: Iterable[str],
    output: str,
    *,
    form: str = "jsonl",
    top_k: int = 3,
    views: bool = False,
    threshold: float | None = None,
) -> rows.Tally:
    """Classify many pictures, and write their rows into a folder.

    It uses the Ray that is connected, or else the cluster that `RAY_ADDRESS` names. Without either, it starts a Ray on
    this machine for this run alone.

    Args:
        model: The bytes of a model file, which every actor gets.
        arguments: As for `expand`, except `-`. It also accepts objects `s3://…` and `gs://…`, folders of these, and
            Parquet files with a column `image` (the bytes of a picture file), `path` or `url`.
        output: A folder that is empty or does not exist, in a store or on a disk that all machines share.
        form: One of `FORMATS`.
        top_k: How many of the most probable classes to name, 1 or more.
        views: As for `classifier.load`.
        threshold: Likewise.

    Returns:
        The number of rows, and of failures among them.

    Raises:
        ModelError: The network of the model file fails, or its output is not probabilities.
        ThumbnetError: The folder is not empty, another run writes to it, or Ray fails.
    """
    sink = _Shards(output, form)
    with _claimed(output), _connected():
        shipped = ray.put(model)  # kept until the end, as a restarted actor needs it again
        try:
            _sources(arguments).map_batches(
                _Answers,
                fn_constructor_args=(shipped, os.getcwd(), form, top_k, views, threshold),
                batch_size=BLOCK,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(),
                num_cpus=ACTOR,
            ).write_datasink(sink, ray_remote_args={"num_cpus": TASK})
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            first = str(cause or error).partition("\n")[0]  # Ray appends advice
            if isinstance(cause, ModelError):
                raise ModelError(first) from None
            raise ThumbnetError(f"Ray stopped: {first}") from error
    return sink.tally


@contextmanager
def _connected() -> Iterator[None]:
    """Connect to Ray without its messages, and stop it at the end if it was started here."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.raise_original_map_exception = sys.stderr.isatty(), True
    if ray.is_initialized():
        yield
        return
    where: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        where = {"address": "local", "include_dashboard": False}
    try:
        ray.init(**where, logging_level=logging.CRITICAL, log_to_driver=False)
    except Exception as error:  # Ray's exceptions have no other common base
        ray.shutdown()
        raise ThumbnetError(f"Ray did not start, or no cluster answers: {one_line(str(error))}") from error
    try:
        yield
    finally:
        ray.shutdown()


# --- sources ---


def _sources(arguments: Iterable[str]) -> ray.data.Dataset:
    """Return all sources, `SOURCES`, in blocks of `BLOCK`."""
    listed: list[dict[str, bytes]] = []
    groups: list[pa.Table] = []
    for each in _expand(arguments):
        if isinstance(each, str) and each.endswith(".parquet") and (not is_url(each) or _stored(each)):
            try:
                groups += _groups(each)
                continue
            except SourceError as error:
                each = Failure(each, error)
        listed.append(_listed(each))
    blocks = [pa.Table.from_pylist(listed[start : start + BLOCK], SOURCES) for start in range(0, len(listed), BLOCK)]
    sources = ray.data.from_arrow(blocks or [SOURCES.empty_table()])
    if not groups:
        return sources
    read = ray.data.from_arrow(groups).map_batches(
        _pictures, fn_args=(os.getcwd(),), batch_size=1, batch_format="pyarrow", num_cpus=TASK
    )
    # A row group may be the whole file, and an actor takes whole blocks.
    read = read.repartition(target_num_rows_per_block=BLOCK)
    return sources.union(read) if listed else read


def _expand(arguments: Iterable[str]) -> Iterator[str | Failure]:
    """Do what `expand` does, also for folders in stores. A folder with Parquet files yields only these."""
    for argument in arguments:
        found: list[str | Failure] = []
        if _stored(argument):
            try:
                found.extend(_objects(argument))
            except SourceError as error:
                found.append(Failure(argument, error))
            except OSError as error:
                found.append(Failure(argument, SourceError(f"cannot read it: {error}")))
        elif os.path.isdir(argument):
            pattern = os.path.join(glob.escape(argument), "**", "*.parquet")
            found.extend(each for each in expand([pattern]) if isinstance(each, str))
        yield from found or expand([argument])


def _stored(source: str) -> bool:
    return source.partition("://")[0] in STORES and "://" in source


def _objects(source: str) -> Iterator[str]:
    """Yield the objects below a folder in a store, sorted by name; none if it is not a folder."""
    store, path = _store(source)
    if store.get_file_info(path).type != fs.FileType.Directory:
        return
    scheme = source.partition("://")[0]
    below = [info.path for info in store.get_file_info(fs.FileSelector(path, recursive=True)) if info.is_file]
    seen = sorted(each for each in below if "/." not in each.removeprefix(path))
    tables = [each for each in seen if each.endswith(".parquet")]
    yield from (f"{scheme}://{each}" for each in tables or seen if tables or meant_as_picture(each))


def _seen_from(folder: str, source: str) -> str:
    """Make a path absolute, for processes with another working folder. A URL is returned unchanged."""
    return source if is_url(source) else os.path.join(folder, source)


def _store(name: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or an object, and its name there.

    Raises:
        SourceError: The name of the bucket is invalid. Arrow would read options from it, so that a row of a list could
            make it send requests with the user's signature to any host.
    """
    if not _stored(name):
        return fs.LocalFileSystem(), os.path.abspath(name)
    scheme, _, path = name.partition("://")
    bucket = path.partition("/")[0]
    if not BUCKET.fullmatch(bucket):
        raise SourceError(
            f"expected a bucket's name after {scheme}://, of letters, digits, dots, hyphens and underscores. "
            "Credentials and endpoints come from the environment, not from a URL"
        )
    return _bucket(f"{scheme}://{bucket}"), path.rstrip("/")


@functools.cache
def _bucket(uri: str) -> fs.FileSystem:
    """Connect once per bucket, as S3 looks up its region each time."""
    patience = f"?retry_limit_seconds={PATIENCE}" if uri.startswith("gs:") else ""  # Arrow's default for S3 is shorter
    return fs.FileSystem.from_uri(uri + patience)[0]


def _listed(source: str | Failure) -> dict[str, bytes]:
    """Turn a source into a row of `SOURCES`."""
    if isinstance(source, Failure):
        return {"source": _encoded(source.source), "failure": _encoded(source.message)}
    return {"source": _encoded(source)}


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")


# --- Parquet ---


def _groups(file: str) -> list[pa.Table]:
    """List the row groups of a Parquet file: for each, a table with one row of `GROUPS`.

    Raises:
        SourceError: There is no such file, it is not Parquet, or it lacks the columns.
    """
    with _parquet(file) as opened:
        _columns(opened.schema_arrow)
        sizes = [opened.metadata.row_group(place).num_rows for place in range(opened.num_row_groups)]
    groups = [{"file": _encoded(file), "group": group, "first": sum(sizes[:group])} for group in range(len(sizes))]
    return [pa.Table.from_pylist([group], GROUPS) for group in groups]


@contextmanager
def _parquet(file: str) -> Iterator[parquet.ParquetFile]:
    store, path = _store(file)
    try:
        with store.open_input_file(path) as opened:
            yield parquet.ParquetFile(opened)
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError("no such file. Expected a Parquet file's path") from None
    except Exception as error:  # for a hostile file, Arrow and Ray's types in it raise all kinds
        raise SourceError(f"cannot read this Parquet file: {one_line(str(error))}") from error


def _columns(schema: pa.Schema) -> list[str]:
    """Choose the columns to read: the bytes of the pictures, and their places or names.

    Raises:
        SourceError: There are none.
    """
    kinds: dict[str, pa.DataType] = {field.name: field.type for field in schema}
    held = kinds.get("image", pa.null())
    if pa.types.is_struct(held) and held.get_field_index("bytes") >= 0:  # as in Hugging Face's datasets
        held = held.field("bytes").type
    found = ["image"] if (pa.types.is_binary(held) or pa.types.is_large_binary(held)) else []
    found += [name for name in ("path", "url") if name in kinds and _is_text(kinds[name])][:1]
    if not found:
        have = one_line(", ".join(f"{name} {kind}" for name, kind in kinds.items()))
        raise SourceError(f"expected a column image (bytes), path or url (texts), got {have}")
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _pictures(group: pa.Table, folder: str = "") -> Iterator[pa.Table]:
    """Turn a row of `GROUPS` into the pictures of that row group, `SOURCES`. Without a name, one is called FILE#ROW."""
    [asked] = group.to_pylist()
    file, place = _decoded(asked["file"]), asked["first"]
    try:
        with _parquet(_seen_from(folder, file)) as opened:
            columns = _columns(opened.schema_arrow)
            for batch in opened.iter_batches(BLOCK, row_groups=[asked["group"]], columns=columns):
                yield pa.Table.from_pylist(
                    [_picture(f"{file}#{place + index}", row) for index, row in enumerate(batch.to_pylist())], SOURCES
                )
                place += batch.num_rows
    except SourceError as error:
        yield pa.Table.from_pylist([_listed(Failure(file, error))], SOURCES)


def _picture(numbered: str, row: dict[str, Any]) -> dict[str, bytes]:
    """Turn a row of a Parquet file into one of `SOURCES`."""
    named, image = row.get("path") or row.get("url"), row.get("image")
    content = image.get("bytes") if isinstance(image, dict) else image
    if content is None and not named:
        return _listed(Failure(numbered, SourceError("this row has neither a picture nor the name of one")))
    return _listed(named or numbered) | ({} if content is None else {"content": content})


# --- answers ---


class _Answers:
    """An actor, which loads the classifier once: `SOURCES` → `LINES` or `ROWS`, in the same order."""

    def __init__(
        self, model: "ray.ObjectRef[bytes]", folder: str, form: str, top_k: int, views: bool, threshold: float | None
    ) -> None:
        self._classifier = Classifier(ray.get(model), threads=1, views=views, threshold=threshold)
        self._folder, self._top_k = folder, top_k
        self._table = _lines if form == "jsonl" else _columnar

    def __call__(self, sources: pa.Table) -> pa.Table:
        return self._table(
            bulk.predict(
                self._classifier, map(_asked, sources.to_pylist()), top_k=self._top_k, workers=1,
                content=lambda source: _content(_seen_from(self._folder, source)),
            )
        )  # fmt: skip


def _asked(row: dict[str, bytes | None]) -> bulk.Source:
    """Turn a row of `SOURCES` into a source, which is the inverse of `_listed`."""
    name, content, failure = _decoded(row["source"] or b""), row["content"], row["failure"]
    if failure is not None:
        return Failure(name, SourceError(_decoded(failure)))
    return name if content is None else bulk.Held(name, content)


def _content(source: str) -> bytes:
    """Read a source as `sources.read` does, or an object in a store."""
    if not _stored(source):
        return read_source(source)
    try:
        store, path = _store(source)
        with store.open_input_file(path) as file:
            if file.size() > MAX_BYTES:
                raise SourceError(f"larger than {MAX_BYTES / 2**20:.0f} MiB. Expected a picture")
            content: bytes = file.read()
    except FileNotFoundError:
        raise SourceError("no such object. Expected a picture's URL") from None
    except OSError as error:
        raise SourceError(f"cannot read it: {one_line(str(error))}") from error
    return content


def _lines(answers: Iterable[Row]) -> pa.Table:
    """Return the lines that `predict --format jsonl --output FILE` writes."""
    form = rows.form("jsonl", several=True)
    lines = [
        {"line": form.row(row).encode("utf-8", "backslashreplace"), "failed": isinstance(row, Failure)}
        for row in answers
    ]
    return pa.Table.from_pylist(lines, LINES)


def _columnar(answers: Iterable[Row]) -> pa.Table:
    """Return the same in columns, with null for what a row lacks."""
    fields = [{**row.as_dict(), "source": _unicode(row.source)} for row in answers]
    for each in fields:
        if "error" in each:
            each["error"]["message"] = _unicode(each["error"]["message"])
    return pa.Table.from_pylist(fields, ROWS)


def _unicode(text: str) -> str:
    """Escape the parts of a name that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


# --- shards ---


@contextmanager
def _claimed(output: str) -> Iterator[None]:
    """Reserve the output folder for this run. A store has no locks, so there it only checks that the folder is empty.

    Raises:
        ThumbnetError: The folder is not empty, or another run writes to it.
    """
    store, path = _store(output)
    with contextlib.nullcontext() if _stored(output) else _locked(Path(path, LOCK)):
        found = store.get_file_info(fs.FileSelector(path, allow_not_found=True))
        if any(info.base_name != LOCK for info in found):
            raise ThumbnetError(
                f"{output}: expected an empty or a new folder, as its files could be taken for those of this run. "
                "Name another, or remove it first"
            )
        yield


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with exclusive(file):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows does not remove open files
                file.unlink()


class _Shards(ray.data.Datasink[int]):
    """A folder with a file for each task that writes, and at last an empty one, `DONE`.

    A task that is repeated has the same number, so its file replaces the first one. Files appear only when they are
    complete: on a disk they are renamed then, and a store shows no object before it is closed.
    """

    def __init__(self, output: str, form: str) -> None:
        self.tally = rows.Tally()
        self._form, self._output = form, output if _stored(output) else os.path.abspath(output)
        store, path = _store(output)
        if store.get_file_info(path).is_file:
            raise ThumbnetError(f"{output}: expected a folder to write to, got a file")
        if not _stored(output):
            store.create_dir(path)

    def write(self, blocks: Iterable[Any], ctx: Any) -> int:
        """Write a shard, and return the number of its failures."""
        # A block without rows has lost its columns, too.
        tables = [table for block in blocks if (table := BlockAccessor.for_block(block).to_arrow()).num_rows]
        if not tables:
            return 0
        table = pa.concat_tables(tables)
        if self._form == "jsonl":
            content = b"".join(table["line"].to_pylist())
            failures = sum(table["failed"].to_pylist())
        else:
            parquet.write_table(table, buffer := io.BytesIO())
            content, failures = buffer.getvalue(), table.num_rows - table["error"].null_count
        self._write(f"rows-{ctx.task_idx:06}.{self._form}", content)
        return int(failures)

    def on_write_complete(self, write_result: Any) -> None:
        """Count the rows and write `DONE`, after all shards."""
        self.tally = rows.Tally(int(write_result.num_rows), sum(map(int, write_result.write_returns)))
        self._write(DONE, b"")

    @property
    def min_rows_per_write(self) -> int:
        """How many rows each shard has at least, but for the last ones."""
        return SHARD

    def _write(self, name: str, content: bytes) -> None:
        store, path = _store(self._output)
        if _stored(self._output):
            with store.open_output_stream(f"{path}/{name}") as file:
                file.write(content)
        else:
            with write_atomically(Path(path, name)) as whole:
                whole.write(content)
