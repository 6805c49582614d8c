"""Who trains together: this process alone, or with other machines that TF_CONFIG names, or on several GPUs.

Every process holds all data and draws the same pictures from the same seed, and each trains on its part of each batch.
So the whole batch is that of a single process, and between steps all hold the same numbers.
"""

import contextlib
import functools
import json
import os
import socket
import time
from typing import TypeAlias

import keras

from thumbnet.errors import TrainingError
from thumbnet.training.distributed.team import Team

CONFIG = "TF_CONFIG"
WAIT = "THUMBNET_WAIT"  # seconds for which workers wait for each other at the start
USUAL_WAIT = 300.0
EXAMPLE = '{"cluster": {"worker": ["a.example:2222", "b.example:2222"]}, "task": {"type": "worker", "index": 0}}'
GREETING = b"thumbnet worker "
Member: TypeAlias = tuple[str, str, int]  # its name, such as "worker 1", host and port


def join() -> Team:
    """Find the others, and wait until all are there.

    Raises:
        TrainingError: TF_CONFIG cannot be used, or a worker did not come.
    """
    members, own = read_config(os.environ.get(CONFIG, "{}"))
    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise TrainingError(
            f"expected Keras on tensorflow or jax, got {keras.backend.backend()}: set KERAS_BACKEND before "
            "Keras is imported"
        )
    if keras.backend.backend() != "tensorflow":
        if len(members) > 1:
            raise TrainingError(f"{CONFIG} needs Keras on TensorFlow, got {keras.backend.backend()}. Unset one of them")
        return Team()
    if len(members) > 1:
        return _with_machines(tuple(members), own)
    import tensorflow as tf

    return _with_gpus() if len(tf.config.list_physical_devices("GPU")) > 1 else Team()


def read_config(text: str) -> tuple[list[Member], int]:
    """The members that TF_CONFIG names, the chief first, and this process's place among them.

    Raises:
        TrainingError: TensorFlow would not understand it, or it names other tasks than a chief and workers.
    """
    try:
        config = json.loads(text)
        cluster: dict[str, list[str]] = config.get("cluster", {})
        members = [
            (f"{job} {index}", address.rpartition(":")[0].strip("[]"), int(address.rpartition(":")[2]))
            for job in ("chief", "worker") for index, address in enumerate(cluster.get(job, []))
        ]  # fmt: skip
        if not cluster:
            return [], 0
        task = config["task"]
        own = [name for name, *_ in members].index(f"{task['type']} {int(task['index'])}")
        unknown = sorted(cluster.keys() - {"chief", "worker"})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TrainingError(f"{CONFIG} cannot be used. Expected such as {EXAMPLE}, got {text}") from None
    if unknown:
        raise TrainingError(f"{CONFIG}: expected only a chief and workers, got {', '.join(unknown)}, too")
    return members, own


@functools.cache  # TensorFlow learns of other machines only once in a process
def _with_machines(members: tuple[Member, ...], own: int) -> Team:
    gather(members, own, float(os.environ.get(WAIT, USUAL_WAIT)))
    import tensorflow as tf

    from thumbnet.training.distributed.strategy import Strategy

    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise TrainingError(f"{CONFIG} counts only in a process that has not trained yet. Start another one") from error
    return Strategy(strategy, [name for name, *_ in members], own)


@functools.cache
def _with_gpus() -> Team:
    import tensorflow as tf

    from thumbnet.training.distributed.strategy import Strategy

    return Strategy(tf.distribute.MirroredStrategy())


def gather(members: tuple[Member, ...], own: int, seconds: float) -> None:
    """Return once every member has reached every other one, on the ports that TensorFlow will use.

    TensorFlow itself waits for a missing one for minutes, ignores Ctrl-C, and does not name it.

    Raises:
        TrainingError: Some did not come in time, or this member's port is taken.
    """
    end = time.monotonic() + seconds
    unreached, unheard = (set(range(len(members))) - {own} for _ in range(2))
    name, _, port = members[own]
    try:
        server = socket.create_server(("", port), backlog=len(members))
    except OSError as error:
        raise TrainingError(f"{name} cannot listen on port {port}: {error.strerror}. Name a free one") from error
    with server:
        server.settimeout(0.2)
        while unreached or unheard:
            for other in sorted(unreached):
                with contextlib.suppress(OSError), socket.create_connection(members[other][1:], timeout=2) as away:
                    away.sendall(GREETING + str(own).encode())
                    unreached.discard(other)
            with contextlib.suppress(OSError):
                caller, _ = server.accept()
                with caller:
                    caller.settimeout(2)
                    heard = caller.makefile("rb").read(100)
                unheard -= {other for other in unheard if heard == GREETING + str(other).encode()}
            if time.monotonic() > end and unreached | unheard:
                missing = [
                    f"{job} ({host}:{port})"
                    for job, host, port in map(members.__getitem__, sorted(unreached | unheard))
                ]
                raise TrainingError(
                    f"{', '.join(missing)} did not come within {seconds:g} seconds. Start the same command on every "
                    f"machine, and see that each reaches the others' ports; ${WAIT} sets the seconds"
                )
