"""Model file → a folder of static files that classifies pictures in its visitor's browser: docs/web.md.

The page is the server's (`page/`), but `browser.js` takes the place of `backend.js`. It runs the model with ONNX
Runtime Web, which is not part of Thumbnet: it comes from npm's registry, or from a copy.
"""

import hashlib
import json
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import onnxruntime

from thumbnet.errors import ExportError, FetchError
from thumbnet.files import cache_folder
from thumbnet.model.info import ModelInfo
from thumbnet.sources.read import take

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "page"
VERSION = "1.30.0"  # of ONNX Runtime Web
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/{ARCHIVE}"
SIZE = 33_106_585
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"


class Part(NamedTuple):
    """A file of ONNX Runtime Web, identified by its checksum."""

    name: str  # in the written folder; every server knows the type of .js, some do not know .mjs
    size: int
    sha256: str


PARTS = {
    "dist/ort.wasm.bundle.min.mjs": Part(
        "ort.js", 73_054, "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"
    ),
    "dist/ort-wasm-simd-threaded.wasm": Part(
        "ort.wasm", 14_239_897, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
}
LICENCES = ("LICENSE", "ThirdPartyNotices.txt")  # ONNX Runtime's, from its Python package
# 'wasm-unsafe-eval' lets the browser compile WebAssembly, but evaluate no text.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'"
)
# Statements of the server's page that are not true here. Each occurs there once.
CHANGES = {
    '<meta charset="utf-8">': f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
    "Loading the model’s description …": "Loading {megabytes} MB, the model and what runs it …",
    ' Without it: <a href="docs">the API</a>.': "",
    'accept="image/*,.tif,.tiff,.jp2,.ppm,.pgm,.pbm"': 'accept="image/*"',  # no browser shows the others
    '<a href="docs">API</a>': "Pictures are looked at in this browser. They are sent nowhere.",
}
README = """\
Made by `thumbnet export --format web`. Serve this folder from any web server, in any place on it. Opened as a file,
index.html does not work, because browsers run such pages only from a server:

    python -m http.server 8000      (in this folder; then open http://127.0.0.1:8000/)

onnxruntime/ is ONNX Runtime Web by Microsoft, under the MIT licence: onnxruntime/LICENSE.
"""


def save(content: bytes, info: ModelInfo, folder: Path, *, runtime: Path | None = None) -> None:
    """Write the folder, which must not exist.

    Args:
        content: The model file.
        info: The model file's metadata, which the browser cannot read from the file.
        folder: The folder to make.
        runtime: ONNX Runtime Web, as `npm pack` makes it or unpacked; None to download it into the cache.

    Raises:
        ExportError: ONNX Runtime Web cannot be read or downloaded, or is another version.
    """
    about = {"names": info.names, "size": info.size, "framing": info.framing, "threshold": info.threshold}
    files = {
        "index.html": _index(len(content) + sum(part.size for part in PARTS.values())),
        **{name: (PAGE / name).read_bytes() for name in ("page.js", "page.css", "icon.svg")},
        "backend.js": (HERE / "browser.js").read_bytes(),
        **{name: (HERE / name).read_bytes() for name in ("resize.js", "heat.js")},
        "model.json": json.dumps(about, ensure_ascii=False).encode(),
        "model.onnx": content,
        **{f"onnxruntime/{name}": part for name, part in _runtime(runtime).items()},
        "README.txt": README.encode(),
    }
    (folder / "onnxruntime").mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _index(size: int) -> bytes:
    """The server's page with `CHANGES`; a visitor loads `size` bytes."""
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    for old, new in CHANGES.items():
        text = text.replace(old, new.format(megabytes=f"{size / 1e6:.0f}"))
    return text.encode()


# --- ONNX Runtime Web ---


def _runtime(given: Path | None) -> dict[str, bytes]:
    """The needed files and the licences, by their names in the written folder."""
    source = given or _downloaded()
    try:
        contents = _from_folder(source) if source.is_dir() else _from_archive(source)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise ExportError(f"{source}: {_expected()}, got none that can be read: {error}") from error
    for inner, part in PARTS.items():
        if hashlib.sha256(contents.get(inner, b"")).hexdigest() != part.sha256:
            raise ExportError(f"{source}: {_expected()}, got {'another' if inner in contents else 'no'} {inner}")
    licences = {name: (Path(onnxruntime.__file__).parent / name).read_bytes() for name in LICENCES}
    return {**{part.name: contents[inner] for inner, part in PARTS.items()}, **licences}


def _downloaded() -> Path:
    """The archive in the cache, downloaded if it is not there yet."""
    path = cache_folder() / ARCHIVE
    if not path.is_file():
        from thumbnet.sources.fetch import download  # imports ssl and urllib.request, which a copy does not need

        try:
            download(URL, path, size=SIZE, sha256=SHA256, label="onnxruntime-web")
        except FetchError as error:
            raise ExportError(
                f"ONNX Runtime Web was not downloaded: {error}.\nElsewhere, `npm pack onnxruntime-web@{VERSION}` makes "
                f"{ARCHIVE}; give it by --runtime, or save it as {path}"
            ) from error
    return path


def _from_archive(path: Path) -> dict[str, bytes]:
    """The parts in an archive. No name in it becomes a path here, and no more than a part's size is read."""
    found = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            inner = member.name.removeprefix("package/")
            if inner in PARTS and inner not in found and (file := archive.extractfile(member)) is not None:
                found[inner] = take(file, PARTS[inner].size + 1)
                if len(found) == len(PARTS):
                    break
    return found


def _from_folder(path: Path) -> dict[str, bytes]:
    """The parts in a folder: what `npm install` makes, or the unpacked archive."""
    found = {}
    for inner, part in PARTS.items():
        for file in (path / inner, path / "package" / inner):
            if file.is_file():
                with file.open("rb") as opened:
                    found[inner] = take(opened, part.size + 1)
    return found


def _expected() -> str:
    return f"expected onnxruntime-web {VERSION}, as `npm pack onnxruntime-web@{VERSION}` gives it"
