"""Twice the load that `thumbnet serve` can take: is every request answered, memory flat, and the server quick again?

    python benchmarks/overload.py [--seconds 300] [--model cifar10-best] [--workers 1]

First 32 clients, each with one request under way, tell what the server can take. Then requests come at twice that rate,
whether or not earlier ones are answered. Client and server share the machine.
"""

import argparse
import asyncio
import collections
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import time

from serve import held, pictures

DEADLINE = 30.0  # seconds, the server's own for a request


class Client:
    """Requests over connections that are kept, and what came of them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seconds: dict[str, list[float]] = collections.defaultdict(list)  # by status, or by what went wrong
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        head = "POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n"
        self._requests = [head.format(len(content)).encode() + content for content in pictures()]

    async def ask(self, number: int) -> float:
        """Send one request, and return the seconds until its answer was there."""
        start = time.perf_counter()
        outcome = "no answer"
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            outcome = await asyncio.wait_for(self._ask(number), 2 * DEADLINE)
        taken = time.perf_counter() - start
        self.seconds[outcome].append(taken)
        return taken

    async def _ask(self, number: int) -> str:
        # The server closes connections that were idle for 5 s. As every client does, take none of these.
        while self._free and (self._free[-1][0].at_eof() or self._free[-1][1].is_closing()):
            self._free.pop()
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self._requests[number % len(self._requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._free.append((reader, writer))
        return head.split(b" ", 2)[1].decode()


async def capacity(port: int, seconds: float) -> float:
    """Requests a second that 32 clients get answered."""
    client, end = Client(port), time.perf_counter() + seconds

    async def one() -> None:
        while time.perf_counter() < end:
            await client.ask(len(client.seconds["200"]))

    await asyncio.gather(*[one() for _ in range(32)])
    return len(client.seconds["200"]) / seconds


async def overload(port: int, rate: float, seconds: float, leader: int) -> tuple[Client, list[float]]:
    """Requests at `rate` a second, and the server's megabytes over that time."""
    client, tasks, megabytes = Client(port), set(), [held(leader)]
    start = time.perf_counter()
    sent = 0
    while (now := time.perf_counter() - start) < seconds:
        while sent < now * rate:
            task = asyncio.create_task(client.ask(sent))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        if now > len(megabytes) * seconds / 20:
            megabytes.append(held(leader))
        await asyncio.sleep(0.005)
    if tasks:
        await asyncio.wait(tasks)
    return client, megabytes


async def measure(port: int, seconds: float, leader: int) -> None:
    """Print all of it."""
    await capacity(port, 3)
    able = await capacity(port, 10)
    print(f"takes {able:.0f} requests a second; {2 * able:.0f} a second come for {seconds:g} s")
    client, megabytes = await overload(port, 2 * able, seconds, leader)
    await asyncio.sleep(1)
    later = await Client(port).ask(0)
    for outcome, taken in sorted(client.seconds.items()):
        ordered = sorted(taken)
        p50, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
        print(f"{outcome}: {len(ordered):,}, p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, max {ordered[-1]:.2f} s")
    print("memory, MB, at 20 times: " + " ".join(f"{each:.0f}" for each in megabytes))
    print(f"a request one second after the end: {later * 1000:.1f} ms")


def main() -> None:
    """Start a server, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--model", default="cifar10-best")
    parser.add_argument("--workers", default="1")
    arguments = parser.parse_args()
    options = ["--model", arguments.model, "--workers", arguments.workers, "--port", "0"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "thumbnet", "serve", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stderr is not None
    found = re.search(rb":(\d+)/", process.stderr.readline())
    try:
        assert found
        asyncio.run(Client(int(found[1])).ask(0))
        print(f"the first answer came {time.perf_counter() - start:.2f} s after the start")
        # The access log is read, as it would be: a full pipe would stop the server.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        asyncio.run(measure(int(found[1]), arguments.seconds, process.pid))
        drain.terminate()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


if __name__ == "__main__":
    main()
