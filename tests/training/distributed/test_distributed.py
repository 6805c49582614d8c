"""Several processes, or devices, train what one trains; a lost one ends the others, who say which it was."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

from support import worker
from support.trainings import know_tiny, stripes

import thumbnet
from thumbnet.errors import TrainingError
from thumbnet.training.distributed.join import EXAMPLE, gather, join, read_config
from thumbnet.training.distributed.team import Team

PATIENCE = 500  # seconds: generous, as a busy machine compiles slowly
TOLERANCE = 1e-5  # of any weight: sums in another order differ in the last digits, and the steps make more of it


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def configs(count: int) -> list[str]:
    """TF_CONFIG for each of so many workers on this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(count)]}
    tasks = ({"type": "worker", "index": index} for index in range(count))
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


def start(*arguments: str, config: str = "{}", error: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TF_CONFIG": config}
    with error.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
        )


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not come"
        assert process.poll() is None, f"a worker ended before {path.name} came"
        time.sleep(0.1)


def told(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for line in (folder / "results.jsonl").read_text().splitlines():
        results |= json.loads(line)
    return results


def weights(folder: Path, name: str) -> list[Any]:
    with np.load(folder / f"{name}.npz") as arrays:
        return [arrays[key] for key in arrays.files]


def apart(first: list[Any], second: list[Any]) -> float:
    return max(float(np.abs(one - other).max()) for one, other in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process gives."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        know_tiny(patch)
        results = {name: worker.train(folder, name, recipe, Team()) for name, recipe in worker.TRAININGS.items()}
    (folder / "results.jsonl").write_text(json.dumps(results))
    return folder


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The folders of two processes, of which the second one got Ctrl-C in one training and was killed in another."""
    root = tmp_path_factory.mktemp("workers")
    folders = [root / "0", root / "1"]
    script = str(Path(worker.__file__))
    processes = [
        start(script, str(folder), "1", config=config, error=root / f"{folder.name}.err")
        for folder, config in zip(folders, configs(2), strict=True)
    ]
    try:
        wait_for(folders[0] / "stopped.csv", processes[0])
        processes[1].send_signal(signal.SIGINT)
        wait_for(folders[0] / "killed.csv", processes[0])
        processes[1].kill()
        processes[0].wait(60)  # seconds, the limit that docs/distributed.md has room for
        yield folders
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one process with two devices."""
    folder = tmp_path_factory.mktemp("devices") / "0"
    process = start(str(Path(worker.__file__)), str(folder), "2", error=folder.with_name("0.err"))
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, folder.with_name("0.err").read_text()
    return folder


@pytest.mark.parametrize("name", worker.TRAININGS)
def test_two_processes_give_what_one_gives(alone: Path, workers: list[Path], name: str) -> None:
    assert apart(weights(workers[0], name), weights(workers[1], name)) == 0
    assert apart(weights(alone, name), weights(workers[0], name)) < TOLERANCE
    for mine, theirs in zip(told(alone)[name]["rows"], told(workers[0])[name]["rows"], strict=True):
        assert theirs == pytest.approx(mine, abs=0.03)


@pytest.mark.parametrize("name", worker.TRAININGS)
def test_two_devices_give_what_one_gives(alone: Path, devices: Path, name: str) -> None:
    assert apart(weights(alone, name), weights(devices, name)) < TOLERANCE


def test_resumed_from_the_chiefs_checkpoint_is_as_if_never_interrupted(workers: list[Path]) -> None:
    assert all(told(folder)["broken"] == {"error": ""} for folder in workers)
    for folder in workers:
        assert told(folder)["resumed"]["rows"] == told(folder)["tiny"]["rows"]
        assert apart(weights(folder, "broken"), weights(folder, "tiny")) == 0


def test_only_the_chief_writes(workers: list[Path]) -> None:
    for suffix in ("checkpoint", "csv"):
        assert list(workers[0].glob(f"*.{suffix}"))
        assert not list(workers[1].glob(f"*.{suffix}"))


def test_all_end_at_the_same_step_of_a_timed_training(workers: list[Path]) -> None:
    first, second = (told(folder)["timed"] for folder in workers)
    assert first == second
    assert first["epochs"] >= 1


def test_nothing_to_resume_is_said_by_all(workers: list[Path]) -> None:
    assert all("nothing to resume" in told(folder)["nothing to resume"]["error"] for folder in workers)


def test_other_settings_are_refused_by_all(workers: list[Path]) -> None:
    for folder in workers:
        assert told(folder)["other settings"]["error"] == (
            "the workers do not agree on: recipe. Start all by the same command on the same data"
        )


def test_ctrl_c_in_one_stops_all_with_the_best_so_far(workers: list[Path]) -> None:
    first, second = (told(folder)["stopped"] for folder in workers)
    assert first == second
    assert first["interrupted"]
    assert apart(weights(workers[0], "stopped"), weights(workers[1], "stopped")) == 0


def test_a_killed_worker_is_named_by_the_other(workers: list[Path]) -> None:
    assert "killed" not in told(workers[1])
    assert told(workers[0])["killed"]["error"] == (
        "worker 1 is gone: see what it said. Start all again, with --resume to go on from the last epoch's end"
    )
    assert (workers[0] / "killed.checkpoint").exists()


def test_the_same_command_on_two_machines_gives_one_model(tmp_path: Path) -> None:
    train, test = stripes(120, 0), stripes(40, 1)
    np.savez(tmp_path / "few.npz", x_train=train.images, y_train=train.labels, x_test=test.images, y_test=test.labels)
    started = [
        start(
            *("-m", "thumbnet", "train", "--data", str(tmp_path / "few.npz"), "--size", "18", "--recipe", "seed"),
            *("--epochs", "1", "--output", str(tmp_path / str(index) / "few.onnx")),
            config=config, error=tmp_path / f"{index}.err",
        ) for index, config in enumerate(configs(2))
    ]  # fmt: skip
    outs = [process.communicate(timeout=PATIENCE)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], (tmp_path / "0.err").read_text()
    assert "test images right" in outs[0]
    assert "epoch" in (tmp_path / "0.err").read_text()
    assert (outs[1], (tmp_path / "1.err").read_text()) == ("", "")
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == ["few.keras", "few.onnx", "few.results.csv"]
    assert not (tmp_path / "1").exists()
    info = thumbnet.load(tmp_path / "0" / "few.onnx").info
    assert info.data["train"] == dataclasses.replace(train, names=("0", "1")).fingerprint()


def test_a_worker_that_does_not_come_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configs(3)[1]
    monkeypatch.setenv("TF_CONFIG", config)
    monkeypatch.setenv("THUMBNET_WAIT", "0.1")
    first, _, last = json.loads(config)["cluster"]["worker"]
    with pytest.raises(TrainingError) as caught:
        thumbnet.train("digits", output=tmp_path / "model.onnx")
    assert str(caught.value).startswith(
        f"worker 0 ({first}), worker 2 ({last}) did not come within 0.1 seconds. Start the same command on every"
    )


def test_all_go_on_once_the_last_has_come() -> None:
    members = tuple(read_config(configs(3)[0])[0])
    done: list[int] = []

    def come(own: int) -> None:
        gather(members, own, 20)
        done.append(own)

    threads = [threading.Thread(target=come, args=(own,)) for own in range(3)]
    for thread in threads[:2]:
        thread.start()
    time.sleep(0.5)
    assert not done
    with socket.create_connection(members[0][1:]) as stranger:  # is not taken for the third
        stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
    threads[2].start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == [0, 1, 2]


def test_a_port_that_is_taken_is_said() -> None:
    members = tuple(read_config(configs(2)[0])[0])
    with (
        socket.create_server(("", members[0][2])),
        pytest.raises(TrainingError, match=rf"worker 0 cannot listen on port {members[0][2]}: Address already in use"),
    ):
        gather(members, 0, 1)


def test_a_chief_comes_first() -> None:
    config = {
        "cluster": {"worker": ["b:2", "[::1]:3"], "chief": ["a:1"]},
        "task": {"type": "worker", "index": "1"},
    }
    members = [("chief 0", "a", 1), ("worker 0", "b", 2), ("worker 1", "::1", 3)]
    assert read_config(json.dumps(config)) == (members, 2)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"cluster": {"worker": ["a:1", "b:2"]}}', '{"cluster": {"worker": ["a", "b:2"]}, "task": {}}',
     EXAMPLE.replace('"index": 0', '"index": 2'), EXAMPLE.replace(":2222", "")],
)  # fmt: skip
def test_a_config_that_cannot_be_used_is_shown_beside_one_that_can(text: str) -> None:
    with pytest.raises(TrainingError, match=r"TF_CONFIG cannot be used\. Expected such as") as caught:
        read_config(text)
    assert str(caught.value).endswith(f"got {text}")


def test_a_parameter_server_is_refused() -> None:
    text = EXAMPLE.replace('"cluster": {', '"cluster": {"ps": ["c.example:2222"], ')
    with pytest.raises(TrainingError, match="expected only a chief and workers, got ps, too"):
        read_config(text)


@pytest.mark.parametrize("text", ["{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'])
def test_one_process_is_no_team(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    assert type(join()) is Team
