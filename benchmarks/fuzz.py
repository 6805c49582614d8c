"""Decode broken pictures for minutes, to see whether any of them crashes, hangs or takes memory. Linux only.

    python benchmarks/fuzz.py [--minutes 5] [--first NUMBER]

Each input is a picture of the tests' table with faults, or the start of one and random bytes; its number makes it. One
process, with a limit on its memory, decodes them one after the other. Where that ends, the input is kept as a file and
another process goes on behind it. The lines that image libraries print themselves are left out.
"""

import argparse
import faulthandler
import multiprocessing
import os
import random
import resource
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.pictures import CASES, mutated

PIXELS = 2**22  # more than that is refused, so that memory beyond what pixels need is seen
MEMORY = 2**29  # bytes above what the process has at its start
HANG = 10  # seconds


def main() -> None:
    """Run one process after the other until the time is over, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    end = time.time() + 60 * arguments.minutes
    context = multiprocessing.get_context("spawn")
    seen = context.Array("q", [arguments.first, 0, 0])  # the input in work; pictures and errors so far
    failed = 0
    while time.time() < end:
        worker = context.Process(target=work, args=(seen, end))
        worker.start()
        worker.join()
        if worker.exitcode:
            failed += 1
            name, data = made(seen[0])
            path = Path(f"fuzz-{seen[0]}.bin")
            path.write_bytes(data)
            print(f"input {seen[0]}, of {name}, in {path}: exit code {worker.exitcode}", flush=True)
            seen[0] += 1
    print(f"{seen[0] - arguments.first:,} inputs: {seen[1]:,} pictures, {seen[2]:,} errors, {failed} failed")


def work(seen: "multiprocessing.sharedctypes.SynchronizedArray[int]", end: float) -> None:
    """Decode from the input `seen[0]` on."""
    told = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(PIXELS)
    for case in CASES.values():  # what every codec sets up once is no memory of an input
        is_decoded(case.data)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    while time.time() < end:
        faulthandler.dump_traceback_later(HANG, exit=True, file=told)
        try:
            decoded = is_decoded(made(seen[0])[1])
        except BaseException:
            traceback.print_exc(file=told)
            told.flush()
            raise
        seen[1 if decoded else 2] += 1
        seen[0] += 1
    faulthandler.cancel_dump_traceback_later()


def made(number: int) -> tuple[str, bytes]:
    """The name of the picture that an input comes from, and the input."""
    chance = random.Random(number)
    name = chance.choice(sorted(CASES))
    data = CASES[name].data
    if chance.random() < 0.8:
        return name, mutated(data, chance)
    return name, data[: chance.randrange(100)] + chance.randbytes(chance.randrange(1000))


def is_decoded(data: bytes) -> bool:
    """Whether the bytes are decoded. Anything but a picture or an `ImageError` is a find."""
    from thumbnet.errors import ImageError
    from thumbnet.pictures.decode import decode

    try:
        image = decode(data, least=1, max_pixels=PIXELS)
    except ImageError:
        return False
    if image.dtype != "uint8" or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise TypeError(f"no picture: {image.dtype} {image.shape}")
    return True


if __name__ == "__main__":
    main()
