"""The same model file behind `thumbnet serve` and behind other servers: requests a second, latency, memory.

    python benchmarks/serve.py --litserve PYTHON --bentoml PYTHON --mlserver PYTHON [--rounds 3] [--seconds 6]
                               [--plot docs/serve-requests.svg]

Each PYTHON is that of an environment which has the server and Thumbnet; they exclude each other in one. Each server is
set up as its documentation says, with batches of up to 64, and calls Thumbnet to decode and for the network, so that
only the serving differs. Clients are `wrk`'s connections, each of which sends one JPEG a request, in base64 in JSON, as
all of them can take it; `thumbnet (body)` takes the file's bytes instead. The limit is the same work in a loop with no
server around it. Memory is what the server's processes hold together (PSS), under load.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from plots import draw

import thumbnet
from thumbnet.model.classifier import PRETRAINED

CLIENTS = (1, 8, 32, 64)
PICTURES = 16
EXAMPLE = Path(__file__).parent.parent / "examples" / "cat.png"

LITSERVE = """
import base64, os
import litserve
import numpy as np
import thumbnet

class API(litserve.LitAPI):
    def setup(self, device):
        self.classifier = thumbnet.load(os.environ["MODEL"])

    def decode_request(self, request):
        return self.classifier.square(base64.b64decode(request["image"]))

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, squares):
        return self.classifier.probabilities(squares)

    def unbatch(self, rows):
        return list(rows)

    def encode_response(self, row):
        return {"probabilities": row.tolist()}

if __name__ == "__main__":
    api = API(max_batch_size=64, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
"""
BENTOML = """
import base64, os
import bentoml
import numpy as np
import thumbnet

@bentoml.service
class Thumbnet:
    def __init__(self):
        self.classifier = thumbnet.load(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def classify(self, images: list[str]) -> list[list[float]]:
        squares = np.stack([self.classifier.square(base64.b64decode(image)) for image in images])
        return self.classifier.probabilities(squares).tolist()
"""
MLSERVER = """
import base64, os
import numpy as np
import thumbnet
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceResponse

class Runtime(MLModel):
    async def load(self):
        self.classifier = thumbnet.load(os.environ["MODEL"])
        return True

    async def predict(self, payload):
        contents = Base64Codec.decode_input(payload.inputs[0])
        rows = self.classifier.probabilities(np.stack([self.classifier.square(content) for content in contents]))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", rows)])
"""
WRK = """
local bodies = {}
local headers = {["Content-Type"] = os.getenv("TYPE"), ["Host"] = "127.0.0.1"}
for line in io.lines(os.getenv("BODIES")) do
  local file = io.open(line, "rb")
  table.insert(bodies, wrk.format("POST", os.getenv("TARGET"), headers, file:read("*a")))
  file:close()
end
local next = 0
request = function()
  next = next % #bodies + 1
  return bodies[next]
end
"""


def main() -> None:
    """Measure all, round by round, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for peer in ("litserve", "bentoml", "mlserver"):
        parser.add_argument(f"--{peer}", metavar="PYTHON")
    parser.add_argument("--model", default="cifar10-seed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the requests a second")
    arguments = parser.parse_args()
    contents = pictures()
    results: dict[str, dict[int, list[tuple[float, float, float]]]] = {}
    memory: dict[str, list[float]] = {}
    limits = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MODEL"] = str(PRETRAINED / f"{arguments.model}.onnx")
        for _ in range(arguments.rounds):
            limits.append(_limit(arguments.model, contents, arguments.seconds))
            for name, python in [
                ("thumbnet", sys.executable), ("thumbnet (body)", sys.executable),
                ("thumbnet (2 workers)", sys.executable), ("LitServe", arguments.litserve),
                ("BentoML", arguments.bentoml), ("MLServer", arguments.mlserver),
            ]:  # fmt: skip
                if python is None:
                    continue
                with _server(name, python, Path(folder)) as (process, port):
                    for clients in CLIENTS:
                        measured = _load(name, port, contents, clients, arguments.seconds, Path(folder))
                        results.setdefault(name, {}).setdefault(clients, []).append(measured)
                        print(f"{name}, {clients} clients: {measured}", file=sys.stderr)
                    memory.setdefault(name, []).append(held(process.pid))
    limit = statistics.median(limits)
    print(f"limit: {limit:.0f} pictures a second ({min(limits):.0f} to {max(limits):.0f})\n")
    print("| server | clients | requests a second (range) | of the limit | p50 ms | p99 ms (range) | MB |")
    print("|---|---|---|---|---|---|---|")
    for name, by_clients in results.items():
        for clients, runs in by_clients.items():
            rates, middles, tails = zip(*runs, strict=True)
            rate = statistics.median(rates)
            print(
                f"| {name} | {clients} | {rate:.0f} ({min(rates):.0f} to {max(rates):.0f}) | {rate / limit:.0%} | "
                f"{statistics.median(middles):.1f} | {statistics.median(tails):.1f} ({min(tails):.1f} to "
                f"{max(tails):.1f}) | {statistics.median(memory[name]):.0f} |"
            )
    if arguments.plot:
        medians = {
            name: [(clients, statistics.median(rate for rate, *_ in runs)) for clients, runs in by_clients.items()]
            for name, by_clients in results.items()
        }
        told = "; ".join(f"{name} {line[0][1]:.0f} to {line[-1][1]:.0f}" for name, line in medians.items())
        highest = max(rate for line in medians.values() for _, rate in line)
        draw(arguments.plot, f"Requests a second by clients: {told}", ("clients", "requests a second"), medians, {},
             (0, highest * 1.05))  # fmt: skip


def pictures() -> list[bytes]:
    """JPEGs of 320 × 240 pixels, each another part of the example photograph."""
    image = np.asarray(cv2.imread(str(EXAMPLE)))
    parts = [cv2.resize(image[shift:, shift:], (320, 240), interpolation=cv2.INTER_AREA) for shift in range(PICTURES)]
    return [cv2.imencode(".jpg", part)[1].tobytes() for part in parts]


def _limit(model: str, contents: list[bytes], seconds: float) -> float:
    """Pictures a second through decoder and network, in batches of 32, on all cores."""
    classifier = thumbnet.load(model)
    batch = [contents[index % len(contents)] for index in range(32)]
    done, start = 0, time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while time.perf_counter() < start + seconds:
            classifier.probabilities(np.stack(list(pool.map(classifier.square, batch))))
            done += len(batch)
    return done / (time.perf_counter() - start)


@contextlib.contextmanager
def _server(name: str, python: str, folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A server's process, once it answers, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "PORT": str(port), "BENTOML_DO_NOT_TRACK": "true", "PYTHONPATH": str(folder)}
    command = [python, "-m", "thumbnet", "serve", "--model", os.environ["MODEL"], "--port", str(port)]
    if name == "thumbnet (2 workers)":
        command += ["--workers", "2"]
    elif name == "LitServe":
        (folder / "lit.py").write_text(LITSERVE)
        command = [python, "lit.py"]
    elif name == "BentoML":
        (folder / "bento.py").write_text(BENTOML)
        command = [python, "-m", "bentoml", "serve", "bento:Thumbnet", "--host", "127.0.0.1", "--port", str(port)]
    elif name == "MLServer":
        (folder / "runtime.py").write_text(MLSERVER)
        settings = {
            "name": "thumbnet",
            "implementation": "runtime.Runtime",
            "max_batch_size": 64,
            "max_batch_time": 0.005,
        }
        (folder / "model-settings.json").write_text(json.dumps(settings))
        ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "host": "127.0.0.1"}
        (folder / "settings.json").write_text(json.dumps(ports))
        command = [str(Path(python).parent / "mlserver"), "start", str(folder)]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        path, kind, body = _request(name, pictures()[0])
        for _ in range(300):
            with contextlib.suppress(OSError):
                request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": kind})
                if urllib.request.urlopen(request, timeout=5).status == 200:
                    break
            time.sleep(0.2)
        else:
            raise SystemExit(f"{name} does not answer:\n{(folder / 'log').read_text()[-3000:]}")
        yield process, port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _request(name: str, content: bytes) -> tuple[str, str, bytes]:
    """Path, content type and body of a request for one picture."""
    if name == "thumbnet (body)":
        return "/classify", "image/jpeg", content
    text = base64.b64encode(content).decode()
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
    tensorflow = f"/v1/models/{Path(os.environ['MODEL']).stem}:predict", {"instances": [{"b64": text}]}
    path, value = {
        "thumbnet": tensorflow, "thumbnet (2 workers)": tensorflow,
        "LitServe": ("/predict", {"image": text}),
        "BentoML": ("/classify", {"images": [text]}),
        "MLServer": (
            "/v2/models/thumbnet/infer", {"inputs": [{**tensor, "parameters": {"content_type": "base64"}}]},
        ),
    }[name]  # fmt: skip
    return path, "application/json", json.dumps(value).encode()


def _load(
    name: str, port: int, contents: list[bytes], clients: int, seconds: float, folder: Path
) -> tuple[float, float, float]:
    """Requests a second, and the milliseconds that half of them, and 99 in 100, took at the most."""
    (folder / "wrk.lua").write_text(WRK)
    paths = []
    for index, content in enumerate(contents):
        path, kind, body = _request(name, content)
        (folder / f"body-{index}").write_bytes(body)
        paths.append(str(folder / f"body-{index}"))
    (folder / "bodies").write_text("\n".join(paths) + "\n")
    environment = {**os.environ, "BODIES": str(folder / "bodies"), "TARGET": path, "TYPE": kind}
    command = ["wrk", "-t1", f"-c{clients}", "--latency", "--timeout", "30", "-s", str(folder / "wrk.lua")]
    for length in (1.0, seconds):  # the first warms up
        done = subprocess.run(
            [*command, f"-d{length:g}", f"http://127.0.0.1:{port}"],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
    if "Non-2xx" in done.stdout:
        raise SystemExit(f"{name} refused some:\n{done.stdout}")
    rate = re.search(r"Requests/sec: *([\d.]+)", done.stdout)
    return float(rate[1]) if rate else 0, _milliseconds("50", done.stdout), _milliseconds("99", done.stdout)


def _milliseconds(share: str, text: str) -> float:
    found = re.search(rf"{share}% +([\d.]+)(us|ms|s)\b", text)
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]] if found else float("nan")


def held(leader: int) -> float:
    """Megabytes of a process and all that it has started, shared pages counted once (Linux)."""
    parents: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    total, family = 0, [leader]
    for member in family:  # grows on the way
        family += [child for child, parent in parents.items() if parent == member]
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{member}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total / 1000


if __name__ == "__main__":
    main()
