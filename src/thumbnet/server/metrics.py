"""The server's metrics in Prometheus' format, over all worker processes."""

import os
import re
from contextlib import AbstractContextManager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # names the folder in which several workers share their metrics


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "thumbnet_requests", "Requests answered, by path and status.", ["path", "status"],
            registry=registry,
        )  # fmt: skip
        self.refusals = Counter(
            "thumbnet_refusals", "Requests refused for lack of room or time, by reason.", ["reason"], registry=registry
        )
        self.seconds = Histogram(
            "thumbnet_request_seconds", "Time from a request's headers to the end of its answer.", ["path"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._stages = Histogram(
            "thumbnet_stage_seconds", "Time of each stage of a request: body, fetch, decode, wait (which includes the "
            "network), explain; and of the network on a batch.", ["stage"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.batch = Histogram(
            "thumbnet_batch_pictures", "Pictures that went through the network in one batch.",
            buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry,
        )  # fmt: skip
        self.queue = Gauge(
            "thumbnet_queue_pictures", "Pictures that are being decoded or wait for the network.",
            multiprocess_mode="livesum", registry=registry,
        )  # fmt: skip

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Time a stage, even if it fails."""
        return self._stages.labels(name).time()

    def text(self) -> bytes:
        """All metrics, as `GET /metrics` gives them."""
        if SHARED_FOLDER not in os.environ:
            return bytes(generate_latest(self._registry))
        _forget_the_dead(os.environ[SHARED_FOLDER])
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(together))


def _forget_the_dead(folder: str) -> None:
    """Remove the queues of workers that were killed, as nobody counts them down. Their other metrics stay."""
    for file in Path(folder).glob("gauge_live*.db"):
        if (found := re.search(r"_(\d+)\.db$", file.name)) is None:
            continue
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            mark_process_dead(int(found[1]), folder)  # type: ignore[no-untyped-call]
        except OSError:  # another user's: it lives
            continue
