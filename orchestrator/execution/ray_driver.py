"""The process that joins a Ray cluster: ``python -m orchestrator.execution.ray_driver``.

It reads the settings and then orders from stdin, and writes endings to stdout: one JSON object a line.  When
stdin closes, it tells the tasks to save and stop, and ends when they have ended.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import IO, Any

from orchestrator.execution.base import Ending
from orchestrator.execution.cluster_entry import attend
from orchestrator.execution.credentials import VARIABLE, borrowed
from orchestrator.masking import mask, mask_output

POLL_SECONDS = 0.1
KNOCK_SECONDS = 10.0
Say = Callable[[dict[str, Any]], None]


class Tasks:
    """The tasks of this driver, by the path of their run.

    Args:
        settings: of the executor, see `ray_cluster.RayCluster`.
        say: sends a line to the campaign's process.
    """

    def __init__(self, settings: dict[str, Any], say: Say) -> None:
        self._settings = settings
        self._say = say
        self._tasks: dict[str, Any] = {}

    def obey(self, order: str, path: str) -> None:
        """Begin a task, ask it to stop, or kill it."""
        import ray

        if order == "begin":
            self._tasks[path] = self._begin(path)
        elif path in self._tasks:
            ray.cancel(self._tasks[path], force=order == "kill")

    def ask_all(self) -> None:
        """Tell all to save and stop."""
        for path in self._tasks:
            self.obey("ask", path)

    def settle(self) -> bool:
        """Say which have ended since; whether any is left."""
        import ray

        if not self._tasks:
            return False
        ended, _ = ray.wait(list(self._tasks.values()), num_returns=len(self._tasks), timeout=0)
        for path in [path for path, task in self._tasks.items() if task in ended]:
            ending = _ending(self._tasks.pop(path))
            self._say({"path": path, "how": ending.how, "is_lost": ending.is_lost})
        return bool(self._tasks)

    def _begin(self, path: str) -> Any:
        import ray

        memory_gib = self._settings["memory_gib"]
        task = ray.remote(attend).options(
            name=path,
            max_retries=0,  # lost runs are continued by the campaign, which knows when to give up
            num_cpus=self._settings["num_cpus"],
            num_gpus=self._settings["num_gpus"],
            memory=None if memory_gib is None else memory_gib * 2**30,
            resources=self._settings["resources"] or None,
        )
        confidential = {name: os.environ[name] for name in _CONFIDENTIAL if name in os.environ}
        return task.remote(path, self._settings["worker"], self._settings["threads"], None, confidential)


def main(settings: dict[str, Any], orders: IO[bytes], say: Say) -> int:
    """Join, work off orders until there are no more, leave; give the exit status."""
    import ray

    try:
        _knock(settings["address"])
        ray.init(
            address=settings["address"],
            log_to_driver=False,
            runtime_env={"env_vars": {name: os.environ[name] for name in _PASSED_ON if name in os.environ}},
        )
    except (OSError, ValueError, RuntimeError) as error:
        say(
            {
                "refusal": f"cannot be joined ({_one_line(error)}); is it running?  `ray start --head` starts one"
            }
        )
        return 1
    if not settings["grows"] and not any(_can_hold(node, settings) for node in ray.nodes()):
        say({"refusal": f"no node of the cluster has {_wants(settings)}; request less, or set grows: true"})
        return 1
    say({"ready": True})
    tasks = Tasks(settings, say)
    for order in _lines(orders):
        if order is not None:
            tasks.obey(order["order"], order["path"])
        tasks.settle()
    tasks.ask_all()
    while tasks.settle():
        time.sleep(POLL_SECONDS)
    ray.shutdown()
    return 0


def _knock(address: str) -> None:
    """Check that the address answers: without an answer Ray would try for minutes.

    Raises:
        OSError: it does not answer.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "//" not in address:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


_HOW_TO_JOIN = (
    "is it running (`ray start --head` starts one), and does RAY_AUTH_MODE say what it does here: for an address "
    "that is not 'auto', Ray shows its token only where that is set to token"
)
_PASSED_ON = ("PYTHONPATH", "HF_HOME", "HF_HUB_OFFLINE")
"""Variables of this process that decide what a run can load; Ray shows them to all who see its dashboard."""

_CONFIDENTIAL = ("HF_TOKEN", VARIABLE)
"""Variables that go to the run's own process alone, as an argument, which Ray does not show."""


def _ending(task: Any) -> Ending:
    """The ending of a finished task."""
    import ray
    from ray import exceptions

    try:
        ending: Ending = ray.get(task)
    except exceptions.TaskCancelledError:
        return Ending(how="the Ray task was cancelled", is_lost=True)
    except exceptions.RayTaskError as error:  # raised in the task, so again the next time
        return Ending(how=f"the Ray task raised {_last_line(error)}")
    except exceptions.RayError as error:
        return Ending(how=f"the Ray task was lost ({type(error).__name__}: {_one_line(error)})", is_lost=True)
    return ending


def _can_hold(node: dict[str, Any], settings: dict[str, Any]) -> bool:
    has = node["Resources"]
    return bool(node["Alive"]) and all(
        has.get(name, 0) >= amount for name, amount in _wishes(settings).items()
    )


def _wishes(settings: dict[str, Any]) -> dict[str, float]:
    memory = (settings["memory_gib"] or 0) * 2**30
    return {
        "CPU": settings["num_cpus"],
        "GPU": settings["num_gpus"],
        "memory": memory,
        **settings["resources"],
    }


def _wants(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in _wishes(settings).items() if amount)


def _lines(orders: IO[bytes]) -> Iterator[dict[str, Any] | None]:
    """The orders as they come, and None where none came for a while."""
    queue: SimpleQueue[bytes] = SimpleQueue()

    def read() -> None:
        for line in orders:
            queue.put(line)
        queue.put(b"")

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = queue.get(timeout=POLL_SECONDS)
        except Empty:
            yield None
            continue
        if not line:
            return
        yield json.loads(line)


def _one_line(error: BaseException) -> str:
    return mask(" ".join(str(error).split()))[:300]


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _own_stdout() -> IO[bytes]:
    """Stdout for the protocol alone: whatever else is printed goes where errors go."""
    protocol = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return protocol


def _run() -> int:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    protocol = _own_stdout()

    def say(message: dict[str, Any]) -> None:
        protocol.write(json.dumps(message).encode() + b"\n")
        protocol.flush()

    settings = json.loads(sys.stdin.buffer.readline())
    mask_output(settings["address"], *borrowed())
    return main(settings, sys.stdin.buffer, say)


if __name__ == "__main__":
    sys.exit(_run())
