"""The model card of a policy: what it is, how it was trained and measured, and where its numbers come from.

A card has texts of a user's in it: they are escaped, and credentials are masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from orchestrator.errors import printable
from orchestrator.masking import mask, masked
from orchestrator.report.table import NONE
from orchestrator.storage.inputs import now
from orchestrator.storage.run_data import RunRecords, Series
from orchestrator.storage.run_folder import CampaignInfo
from orchestrator.storage.stored_policy import StoredPolicy

CURVES = "curves.png"
_PUNCTUATION = re.compile(r"([\\`*_{}\[\]<>()#|!~&$])")
_OF_A_PART = ("/domain/", "/difficulty/")
_TRAINING = {"entropy": "nats/token", "reward": "", "rollout/length": "tokens"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a card is made of."""

    policy: StoredPolicy
    run: RunRecords
    campaign: CampaignInfo
    place: str
    """What `from_pretrained` is to be given: a repository, or a folder."""
    with_curves: bool

    @property
    def title(self) -> str:
        """The name of the run."""
        info = self.run.info
        return f"{info.campaign}/{info.arm}, seed {info.seed}"

    @property
    def iteration(self) -> int:
        """Iterations that the policy was trained for."""
        return self.policy.iteration


def model_card(card: Card) -> str:
    """The card as Markdown with YAML front matter, as the Hugging Face hub reads it."""
    sections = [
        f"# {escaped(card.title)}",
        _what(card),
        "## Results\n\n" + _results(card),
        f"## Curves\n\n![Learning curves]({CURVES})" if card.with_curves else "",
        "## Method\n\n" + _method(card.run.info.method, card.run.info.config),
        "## Use\n\n" + _use(card),
        "## Settings\n\n" + fenced(_yaml(masked(card.run.info.config)), "yaml"),
        "## Provenance\n\n" + _provenance(card),
    ]
    body = "\n\n".join(section for section in sections if section)
    return mask(f"---\n{_front_matter(card)}\n---\n\n{body}\n")


def escaped(text: str) -> str:
    """A text on one line in which nothing is Markdown or HTML."""
    return _PUNCTUATION.sub(r"\\\1", printable(" ".join(text.split())))


def fenced(text: str, language: str) -> str:
    """A block of code that no backticks in it can end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _front_matter(card: Card) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    config = card.run.info.config
    source = str(config.get("policy", {}).get("source", ""))
    task = str(config.get("task", {}).get("kind", "unknown"))
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=task,
            dataset_name=f"{task}, held out",
            metric_type=name.removeprefix("eval/"),
            metric_value=value,
        )
        for name, _, value in _evaluations(card)
        if name.startswith("eval/pass_") and value is not None
    ]
    data = ModelCardData(
        base_model=source if _is_hub_id(source) else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["reinforcement-learning", "entrostat", card.run.info.method],
        model_name=card.title if results else None,
        eval_results=results or None,
    )
    text: str = data.to_yaml()
    return text


def _is_hub_id(source: str) -> bool:
    """Whether others can find the source under this name, by its form, and because no folder here has it."""
    has_form = re.fullmatch(r"[\w\-][\w\-.]*/[\w\-.]+", source) is not None
    return has_form and not source.endswith(".gguf") and not Path(source).exists()


def _what(card: Card) -> str:
    info, best = card.run.info, card.policy.best
    task = escaped(str(info.config.get("task", {}).get("kind", "unknown")))
    chosen = f", the best of its run by `{best.metric}` ({best.value:.4g})" if best else ""
    lines = [
        f"A policy trained by reinforcement learning for {card.iteration} iterations on the task *{task}* by the method "
        f"*{escaped(info.method)}*{chosen}. [Provenance](#provenance) says of which run."
    ]
    if card.campaign.description:
        lines.append("> " + escaped(card.campaign.description))
    return "\n\n".join(lines)


def _results(card: Card) -> str:
    rows = [(escaped(name), _number(start), _number(end)) for name, start, end in _evaluations(card)]
    train = card.run.train
    for name, unit in _TRAINING.items():
        start, end = _at(train, name, 0), _at(train, name, card.iteration - 1)
        label = f"{escaped(name)} in training" + (f" [{unit}]" if unit else "")
        rows.append((label, _number(start), _number(end)))
    kept = [row for row in rows if set(row[1:]) != {NONE}]
    table = _table(("metric", "at the start", f"after {card.iteration} iterations"), kept)
    return (
        f"{table}\n\n`pass_at_1` is the share of held-out problems whose greedy response is right, `pass_rate` the share of "
        "samples that are, and `pass_at_k` the chance that one of k samples is. These are numbers of one seed."
    )


def _evaluations(card: Card) -> list[tuple[str, float | None, float | None]]:
    """Metrics of whole sets of held-out problems: name, before training, and of this policy."""
    series = card.run.evaluation
    names = [name for name in series.values if not any(part in name for part in _OF_A_PART)]
    return [(name, _at(series, name, 0), _at(series, name, card.iteration)) for name in names]


def _at(series: Series, name: str, step: int) -> float | None:
    values = series.get(name)[series.steps == step]
    return float(values[-1]) if values.size and np.isfinite(values[-1]) else None


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4g}"


def _method(method: str, config: Mapping[str, Any]) -> str:
    learner = config.get("learner", {})
    first = [
        ("method", method),
        *((part, _kind(learner.get(part))) for part in ("objective", "advantage", "importance")),
    ]
    text = _table(("part", "what"), [(name, escaped(value)) for name, value in first if value])
    loops = [
        (
            escaped(str(name)),
            escaped(str(loop.get("sensor", "entropy"))),
            *(escaped(_kind(loop.get(part)) or NONE) for part in ("reference", "law", "actuator")),
        )
        for name, loop in (config.get("loops") or {}).items()
    ]
    if not loops:
        return f"{text}\n\nNo loop held its entropy."
    return f"{text}\n\n{_table(('loop', 'sensor', 'reference', 'law', 'actuator'), loops)}"


def _kind(part: Any) -> str:
    return str(part.get("kind", "")) if isinstance(part, Mapping) else ""


def _use(card: Card) -> str:
    config = card.run.info.config
    configured = config.get("rollout", {}).get("temperature", 1.0)
    # An initialisation or an actuator may have moved it.
    temperature = _at(card.run.train, "rollout/temperature", card.iteration - 1) or configured
    prompts = "as turns of its chat template" if config.get("policy", {}).get("chat") else "as they stand"
    code = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"place = {card.place!r}\n"
        "model, tokens = AutoModelForCausalLM.from_pretrained(place), AutoTokenizer.from_pretrained(place)"
    )
    return (
        f"{fenced(code, 'python')}\n\nIt was given prompts {prompts}, and sampled at temperature {temperature:g} from the "
        "whole distribution, without top-k or top-p."
    )


def _provenance(card: Card) -> str:
    info, campaign = card.run.info, card.campaign
    facts = {
        "campaign": campaign.name,
        "arm": info.arm,
        "seed": str(info.seed),
        "file": campaign.source,
        "commit of that file's repository": campaign.git_commit or "",
        "fingerprint of the settings": info.fingerprint,
        **{f"version of {package}": version for package, version in campaign.versions.items()},
        **{label: str(state["digest"]) for label, state in now(info.inputs or {}, info.accepted).items()},
    }
    rows = [(escaped(name), escaped(value)) for name, value in facts.items() if value]
    return _table(("what", "value"), rows) + "\n\nThe checksums of the weights are in `SHA256SUMS`."


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _yaml(content: Any) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text
