"""What a fresh Python process has imported when it ends. And the packages that only a part of Thumbnet needs."""

import subprocess
import sys
import tempfile
from pathlib import Path

TRAINING_ONLY = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "onnx", "tf2onnx", "tqdm", "PIL"}
CLUSTER_ONLY = {"ray", "pyarrow", "pandas"}
BASE = {"numpy", "cv2", "onnxruntime"}
NETWORK = {"ssl", "socket", "http.client", "urllib.request", "thumbnet.sources.fetch"}


def modules(kind: str, what: str, *arguments: str, cwd: Path | None = None) -> set[str]:
    """The modules of a run of `python -c CODE …` or `python -m MODULE …`.

    They are written to a file: a command may keep standard error for itself, where `-X importtime` would tell them.
    """
    run = f"exec({what!r})" if kind == "-c" else f"runpy.run_module({what!r}, run_name='__main__', alter_sys=True)"
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "modules"
        at_its_end = f"atexit.register(lambda: open({str(told)!r}, 'w').write('\\n'.join(sys.modules)))"
        code = f"import atexit, runpy, sys; {at_its_end}; {run}"
        subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True, cwd=cwd)
        return set(told.read_text().splitlines())


def imported(*arguments: str) -> set[str]:
    """The packages of these modules."""
    return {name.partition(".")[0] for name in modules(*arguments)}
