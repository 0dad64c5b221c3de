"""What of a configuration is on the hub, which is asked once whether it answers, and not for long.

The hub's own clients try each request again for half a minute or more, one request after the other, and reading a
campaign makes dozens.  So where the hub is silent this process reads its cache alone, as under ``HF_HUB_OFFLINE=1``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from orchestrator.configuration.inputs import policies_of, tasks_of
from orchestrator.configuration.models import RunConfig
from orchestrator.configuration.resolve import Arm
from orchestrator.errors import one_line
from policies.model.sources import asked_commit, cached_commit, local_source, sources_of
from tasks import Task
from tasks.data.source import Source
from tasks.kinds.mixture import Mixture

SECONDS = 5.0
"""How long the hub is waited for."""
REFUSALS = (401, 403, 404)
"""HTTP statuses by which the hub says that it has no such name, or not for this user."""


def models_of(config: RunConfig) -> dict[str, str]:
    """The models of the hub that a run loads, by the settings that name them, or name adapters of theirs."""
    return {
        f"{key} ({part})" if part else key: name
        for key, source in policies_of(config).items()
        for part, name in _of_hub(source)
    }


def datasets_of(config: RunConfig) -> dict[str, str]:
    """The data sets of the hub that its tasks read, by the tasks' keys."""
    return {key: name for where, task in tasks_of(config).items() for key, name in _datasets(where, task)}


def silence_of(config: RunConfig) -> str | None:
    """`silence` where a configuration has something on the hub; None for others, without asking."""
    return silence() if models_of(config) or datasets_of(config) else None


def _of_hub(source: str) -> list[tuple[str, str]]:
    try:
        return [(part, name) for part, name in sources_of(source).items() if local_source(name) is None]
    except ValueError:  # nothing is there, which `check_campaign` says
        return []


def _datasets(where: str, task: Task) -> Iterator[tuple[str, str]]:
    if isinstance(task, Mixture):
        for place, member in enumerate(task.tasks):
            yield from _datasets(f"{where}.tasks.{place}.task", member.task)
    elif isinstance(task, Source) and task.dataset is not None and not Path(task.dataset).is_dir():
        yield where, task.dataset


def hub_notices(arms: Sequence[Arm]) -> list[str]:
    """What was not checked of what is on the hub, one line each."""
    models = dict.fromkeys(each for arm in arms for each in models_of(arm.config).items())
    datasets = dict.fromkeys(each for arm in arms for each in datasets_of(arm.config).items())
    reason = silence() if models or datasets else None
    if reason is not None:
        return [_unknown(key, name, f"was not asked ({reason})") for key, name in (*models, *datasets)]
    return [notice for key, name in models if (notice := _not_had(key, name))]


def _not_had(key: str, name: str) -> str | None:
    """What the hub says against a model; a hub that is ill says nothing of the name."""
    from huggingface_hub.errors import HFValidationError

    try:
        asked_commit(name)
    except Exception as error:  # in the words of whichever HTTP library
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status not in REFUSALS and not isinstance(error, HFValidationError):
            return _unknown(key, name, f"did not say ({one_line(error)})")
        if not cached_commit(name):
            return (
                f"{key}: {name!r} is not on the hub, or not for you; correct the name, or give your token (hf auth "
                "login)"
            )
    return None


def _unknown(key: str, name: str, why: str) -> str:
    return (
        f"{key}: {name!r} is on the hub, which {why}: its cache is read, and whether it is there or has changed is not "
        "known"
    )


@cache
def silence() -> str | None:
    """Why the hub is not asked: it does not answer, or is not to be; None where it answers, whatever it says.

    From then on this process reads the hub's cache alone.
    """
    from huggingface_hub import constants, is_offline_mode

    if is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    reason = _asked()
    if reason is not None:
        constants.HF_HUB_OFFLINE = True
        if "datasets" in sys.modules:  # it has copied the other when it was imported
            sys.modules["datasets"].config.HF_HUB_OFFLINE = True
    return reason


def _asked() -> str | None:
    """Why a request was not answered in time.  It has a thread, as looking up a name knows no limit of time."""
    heard: SimpleQueue[str | None] = SimpleQueue()

    def ask() -> None:
        from huggingface_hub import constants, get_session

        try:
            get_session().head(constants.ENDPOINT, timeout=SECONDS)
        except Exception as error:  # in the words of whichever HTTP library
            heard.put(one_line(error))
        else:
            heard.put(None)

    Thread(target=ask, daemon=True).start()
    try:
        return heard.get(timeout=SECONDS)
    except Empty:
        return f"nothing within {SECONDS:g} s"
