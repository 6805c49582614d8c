"""What one unfriendly client can do to `thumbnet serve`: memory, health checks, and everybody else's requests.

    python benchmarks/unfriendly.py [--seconds 5] [--model cifar10-seed] [--only NAME …]

Each attack gets a server of its own and comes from 127.0.0.1. Meanwhile another process asks from 127.0.0.2: every
50 ms for `/health/live`, and every 200 ms for an answer to a small JPEG. Memory is the most that the server has
held at once (VmHWM) above what it holds after a few friendly requests. Everything stays on this machine. The exit
code is 1 if a bound is exceeded.
"""

import argparse
import asyncio
import contextlib
import gzip
import http.server
import itertools
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from serve import pictures

MOST_MEBIBYTES = 512
MOST_SECONDS = 1.0  # of a health check
Head = dict[str, str]
JSON: Head = {"Content-Type": "application/json"}
PACKED: Head = {"Content-Encoding": "gzip"}
FORM: Head = {"Content-Type": "multipart/form-data; boundary=x"}


# --- what is sent ---


def request(path: str, body: bytes, headers: Head | None = None) -> bytes:
    """A whole request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def form(*contents: bytes) -> bytes:
    """Files as a browser sends them."""
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n%b\r\n'
    return b"".join(part % content for content in contents) + b"--x--\r\n"


def png(width: int, height: int, bits: int = 16, colours: int = 6) -> bytes:
    """A PNG of nothing, small and slow to decode."""
    row = b"\0" + bytes(width * bits // 8 * {2: 3, 6: 4}[colours])
    packer = zlib.compressobj(9)
    pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    parts = (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def scans(count: int) -> bytes:
    """A JPEG of 25 megapixels in many scans, each of all pixels."""
    _, data = cv2.imencode(".jpg", np.full((5000, 5000, 3), 128, np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    content = data.tobytes()
    starts = [*(found.start() for found in re.finditer(b"\xff\xda", content)), len(content) - 2]
    each = [content[start:end] for start, end in itertools.pairwise(starts)]
    dearest = max((scan for scan in each if len(scan) < 1000), key=len)
    return content[:-2] + dearest * (count - len(each)) + content[-2:]


def encoded(suffix: str, channels: int, kind: Any, side: int, *options: int) -> bytes:
    """A picture of nothing as OpenCV writes it."""
    _, data = cv2.imencode(suffix, np.zeros((side, side, channels), kind), options)
    return data.tobytes()


def binary(count: int) -> bytes:
    """Triton's binary tensor of so many empty BYTES."""
    parameters = {"binary_data_size": 4 * count}
    head = {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "parameters": parameters}]}
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text)), **PACKED}
    return request("/v2/models/cifar10-seed/infer", gzip.compress(text + bytes(4 * count), 1), headers)


def in_json(values: bytes, start: bytes = b'{"urls": [', end: bytes = b'""]}', size: int = 16 * 2**20 - 100) -> bytes:
    """JSON of as many values as fit, packed."""
    body = start + values * ((size - len(start) - len(end)) // len(values)) + end
    return request("/classify", gzip.compress(body, 1), {**JSON, **PACKED})


# --- how it is sent ---


@dataclass
class Attacker:
    """One client. Every attack gets one, goes on until `end`, and counts what it is answered."""

    port: int
    web: str  # the address of a server of ours whose URLs it names
    seconds: float
    end: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection."""
        return await asyncio.open_connection("127.0.0.1", self.port, limit=2**26)

    async def post(self, content: bytes, rest: bytes = b"", pause: float = 0.0) -> None:
        """Send a request; its last bytes drip."""
        reader, writer = await self.connect()
        try:
            writer.write(content)
            await writer.drain()
            for byte in rest:
                await asyncio.sleep(pause)
                writer.write(bytes([byte]))
            line = await asyncio.wait_for(reader.readline(), max(self.end - time.monotonic(), 0.1))
            self.answers[line[9:12].decode() or "closed"] += 1
        finally:
            writer.close()

    async def many(self, count: int, work: Callable[[], Any]) -> None:
        """So many at once, each over and over."""
        self.end = time.monotonic() + self.seconds

        async def one() -> None:
            while time.monotonic() < self.end:
                try:
                    await asyncio.wait_for(work(), self.end - time.monotonic() + 0.1)
                except asyncio.TimeoutError:
                    self.answers["no answer"] += 1
                except OSError:
                    self.answers["closed"] += 1
                    await asyncio.sleep(0.05)

        await asyncio.gather(*[one() for _ in range(count)])

    async def unread(self, content: bytes) -> None:
        """Send requests, and read no answer."""
        _, writer = await self.connect()
        try:
            writer.write(content)
            await asyncio.sleep(self.end - time.monotonic())
        finally:
            writer.close()


def over_and_over(content: Callable[[Attacker], bytes], at_once: int = 16) -> Callable[[Attacker], Any]:
    """The attack that sends one request from many connections."""

    async def attack(attacker: Attacker) -> None:
        sent = content(attacker)
        await attacker.many(at_once, lambda: attacker.post(sent))

    return attack


def dripping(head: bytes, at_once: int, pause: float) -> Callable[[Attacker], Any]:
    """The attack whose requests never end."""

    async def attack(attacker: Attacker) -> None:
        await attacker.many(at_once, lambda: attacker.post(head, b"x" * 1000, pause))

    return attack


def urls(path: str, count: int) -> Callable[[Attacker], bytes]:
    """A request that names one URL of ours many times."""
    return lambda attacker: request("/classify", json.dumps({"urls": [attacker.web + path] * count}).encode(), JSON)


def attacks() -> dict[str, Callable[[Attacker], Any]]:
    """All of them, by name."""
    deep = png(3872, 3872)  # 15 megapixels, which is all that such a one may have
    half = bytes(31 * 2**20)
    slow = b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    data_url = b'"data:,' + b"%41" * 400 + b'",'
    drawn = request("/explain", pictures()[0])
    forms = request("/classify", form(*[deep] * 256), FORM)
    return {
        "64 URLs of gzip": over_and_over(urls("/bomb", 64), 8),
        "256 URLs of gzip": over_and_over(urls("/bomb", 256), 4),
        "URLs that drip": over_and_over(urls("/drip", 256), 16),
        "urls: empty texts": over_and_over(lambda _: in_json(b'"",')),
        "JSON of objects": over_and_over(lambda _: in_json(b'{"a":1},', b'{"urls": [', b"1]}")),
        "JSON of numbers, 1 MB": over_and_over(lambda _: in_json(b"1,", size=2**21)),
        "JSON, giant numbers": over_and_over(lambda _: in_json(b"1", b'{"url": 0.', b"}")),
        "JSON, data URLs": over_and_over(lambda _: in_json(data_url, end=b'""]}', size=2**20)),
        "millions of empty BYTES": over_and_over(lambda _: binary(8_000_000)),
        "PNG, 11,585² of 16 bits": over_and_over(lambda _: request("/classify", png(11585, 11585)), 8),
        "PNG of the limit": over_and_over(lambda _: request("/classify", deep)),
        "256 PNGs of the limit": over_and_over(lambda _: forms, 4),
        "AVIF of the limit": over_and_over(
            lambda _: request("/classify", encoded(".avif", 4, np.uint16, 2600, cv2.IMWRITE_AVIF_DEPTH, 10))
        ),
        "JPEG of 10,000 scans": over_and_over(lambda _: request("/classify", scans(10_000))),
        "JPEG of 99 scans": over_and_over(lambda _: request("/classify", scans(99))),
        "heat maps of the limit": over_and_over(lambda _: request("/explain", deep)),
        "slow headers": dripping(b"GET /health/live HTTP/1.1\r\na: ", 700, 0.5),
        "slow bodies": dripping(slow % len(half) + half[:-1000], 8, 0.5),
        "many connections": dripping(b"GET", 3000, 3.0),
        "huge forms": over_and_over(lambda _: request("/classify", form(b"\r\n-\r\n--" * (31 * 2**17)), FORM), 8),
        "large bodies": over_and_over(lambda _: request("/classify", half)),
        "gzip bombs": over_and_over(lambda _: request("/classify", gzip.compress(bytes(2**30), 1), PACKED)),
        "pipelined requests": over_and_over(lambda _: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000),
        "answers unread": lambda attacker: attacker.many(500, lambda: attacker.unread(drawn * 8)),
        "tiny pictures": over_and_over(lambda _: request("/classify", form(*[pictures()[0]] * 256), FORM)),
    }


# --- who is attacked, and who else asks ---


class Web(http.server.BaseHTTPRequestHandler):
    """URLs that mean no good."""

    bomb = gzip.compress(bytes(31 * 2**20), 9)
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A small file that unpacks to a large one, or one that never ends."""
        with contextlib.suppress(OSError):
            self.send_response(200)
            if self.path == "/bomb":
                self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(self.bomb)))
                self.end_headers()
                self.wfile.write(self.bomb)
            else:
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                for _ in range(100):
                    self.wfile.write(b"\xff")
                    time.sleep(0.3)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


async def probe(port: int) -> None:
    """Ask for health and for answers until standard input ends, and print what came."""
    waits: dict[str, float] = {"health": 0.0, "answer": 0.0}
    statuses: dict[str, Counter[str]] = {"health": Counter(), "answer": Counter()}
    done = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, done.set)
    health = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    classify = request("/classify", pictures()[0], {"Connection": "close"})

    async def ask(name: str, content: bytes) -> None:
        begun = time.monotonic()
        status = "failed"
        with contextlib.suppress(OSError, asyncio.TimeoutError, ValueError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            writer.write(content)
            line = await asyncio.wait_for(reader.readline(), 35)
            status = line[9:12].decode() or "closed"
            writer.close()
        waits[name] = max(waits[name], time.monotonic() - begun)
        statuses[name][status] += 1

    tasks = set()
    for number in range(100_000):
        if done.is_set():
            break
        tasks.add(asyncio.create_task(ask("health", health)))
        if number % 4 == 0:
            tasks.add(asyncio.create_task(ask("answer", classify)))
        await asyncio.sleep(0.05)
    await asyncio.gather(*tasks)
    print(json.dumps({"waits": waits, "statuses": statuses}))


@contextlib.contextmanager
def serving(model: str) -> Iterator[tuple[int, int]]:
    """A server: its process and its port."""
    command = [sys.executable, "-m", "thumbnet", "serve", "--model", model, "--port", "0", "--allow-private-urls"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, bufsize=0
    )
    assert process.stderr is not None
    line = b""
    while not line.endswith(b"\n"):
        line += process.stderr.read(1)
    found = re.search(rb":(\d+)/", line)
    assert found, line
    drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    try:
        yield process.pid, int(found[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
        drain.wait(20)


def peak(process: int) -> float:
    """The most mebibytes that a process has held at once (Linux)."""
    (kibibytes,) = re.findall(r"^VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(kibibytes) / 1024


def measure(attack: Callable[[Attacker], Any], model: str, web: str, seconds: float) -> dict[str, Any]:
    """What a server goes through."""
    with serving(model) as (leader, port):
        asyncio.run(Attacker(port, web, 1.0).many(4, _friendly(port)))
        Path(f"/proc/{leader}/clear_refs").write_text("5")  # the peak begins anew
        idle = peak(leader)
        command = [sys.executable, __file__, "--probe", str(port)]
        prober = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        attacker = Attacker(port, web, seconds)
        thread = threading.Thread(target=lambda: asyncio.run(attack(attacker)))
        time.sleep(1)
        thread.start()
        thread.join()
        most = peak(leader)
        result, _ = prober.communicate(b"\n")
        return {**json.loads(result), "peak": most - idle, "answers": dict(attacker.answers.most_common(3))}


def _friendly(port: int) -> Callable[[], Any]:
    content = request("/classify", form(*pictures()), FORM)
    return lambda: Attacker(port, "", 5.0, time.monotonic() + 5).post(content)


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--model", default="cifar10-seed")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        asyncio.run(probe(arguments.probe))
        return 0
    exceeded = False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    web = f"http://127.0.0.1:{server.server_port}"
    print("| attack | MiB above idle | health, longest | others' answers | longest | the attacker's |")
    print("|---|---|---|---|---|---|")
    for name, attack in attacks().items():
        if arguments.only and name not in arguments.only:
            continue
        found = measure(attack, arguments.model, web, arguments.seconds)
        waits, statuses = found["waits"], found["statuses"]
        fine = (
            found["peak"] <= MOST_MEBIBYTES
            and waits["health"] <= MOST_SECONDS
            and {*statuses["health"], *statuses["answer"]} == {"200"}
        )
        exceeded |= not fine
        health = "" if set(statuses["health"]) == {"200"} else f" {statuses['health']}"
        print(
            f"| {name} | {found['peak']:.0f} | {waits['health'] * 1000:.0f} ms{health} | "
            f"{_counted(statuses['answer'])} | {waits['answer'] * 1000:.0f} ms | {_counted(found['answers'])} |"
            f"{'' if fine else ' ←'}",
            flush=True,
        )
    server.shutdown()
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    return int(exceeded)


def _counted(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count} × {status}" for status, count in statuses.items()) or "none"


if __name__ == "__main__":
    sys.exit(main())
