"""The samples of a campaign for its page: a browser by iteration, arm, domain, right or wrong.

The page has those of one seed of each arm, and of long runs fewer iterations; the rest is in the runs' folders.
Its script sets texts as texts, so nothing that a policy says is read as HTML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, isfinite
from typing import Any

from orchestrator.report.plot_style import thinned
from orchestrator.storage.run_data import ArmRecords, CampaignRecords
from orchestrator.storage.samples import Sample, sample_files, undamaged_samples

MOST_CHARACTERS = 2_000_000
"""Size of all samples on a page, which shall open on a phone."""


def samples_of(campaign: CampaignRecords) -> list[dict[str, Any]]:
    """One entry a sample, for the page's script, arm after arm, in the order of time."""
    room = MOST_CHARACTERS // max(1, len(campaign.arms))
    return [each for number, arm in enumerate(campaign.arms) for each in _of_arm(number, arm, room)]


def samples_section(samples: Sequence[Mapping[str, Any]], campaign: CampaignRecords) -> str:
    """The frame that the script fills; nothing where there is none."""
    if not samples:
        return ""
    arms = [campaign.arms[number].name for number in sorted({each["arm"] for each in samples})]
    numbers = [arm.name for arm in campaign.arms]
    domains = sorted({each["domain"] for each in samples})
    last = len({each["iteration"] for each in samples}) - 1
    seeds = sorted({each["seed"] for each in samples})
    return (
        '<div class="toolbar still" id="sample-tools">'
        f'<label>Iteration <input type="range" id="sample-time" min="0" max="{last}" value="{last}"> '
        '<output id="sample-iteration"></output></label>'
        f"{_choice('arm', 'Arm', {str(numbers.index(name)): name for name in arms})}"
        f"{_choice('domain', 'Domain', {name: name for name in domains})}"
        f"{_choice('right', 'Grade', {'true': 'right', 'false': 'wrong'})}"
        '<label><input type="checkbox" id="sample-colours" checked> entropy of tokens</label>'
        '<span id="sample-count" role="status"></span></div>'
        '<div class="samples" id="sample-list" aria-live="polite"></div>'
        '<p class="note">The first response to each of the first prompts of an iteration, of '
        f"seed {', '.join(map(str, seeds))}: nothing is selected. A token’s shade is the policy’s entropy before it, from 0 "
        '<span class="entropy-scale"></span> to <output id="sample-most"></output> nats. All samples are in the runs’ '
        "folders, as <code>samples/*.parquet</code>.</p>"
    )


def _choice(name: str, label: str, options: Mapping[str, str]) -> str:
    items = "".join(f'<option value="{escape(key)}">{escape(text)}</option>' for key, text in options.items())
    return f'<label>{label} <select id="sample-{name}"><option value="">all</option>{items}</select></label>'


def _of_arm(number: int, arm: ArmRecords, room: int) -> list[dict[str, Any]]:
    """The samples of the first seed that has some, from as many iterations as there is room for, spread over the run."""
    for run in arm.runs:
        files = list(sample_files(run.samples_path).values()) if run.samples_path else []
        if not files:
            continue
        kept = [[_entry(each, number, run.info.seed) for each in undamaged_samples(path)] for path in files]
        size = sum(len(json.dumps(entries, ensure_ascii=False)) for entries in kept)
        num_iterations = max(1, len(kept) // max(1, ceil(size / room)))
        return [entry for index in thinned(len(kept), num_iterations) for entry in kept[index]]
    return []


def _entry(sample: Sample, arm: int, seed: int) -> dict[str, Any]:
    return {
        "arm": arm,
        "seed": seed,
        "iteration": sample.iteration,
        "domain": sample.domain,
        "prompt": sample.prompt,
        "answer": sample.answer,
        "turns": list(sample.turns),
        "reward": _rounded(sample.reward, 4),
        "right": sample.right,
        "length": sample.length,
        "finished": sample.finished,
        "tokens": list(sample.tokens),
        "of": list(sample.token_turns),
        "entropies": [_rounded(each, 3) for each in sample.entropies],
    }


def _rounded(value: float | None, digits: int) -> float | None:
    """For the page's JSON, which has no word for what is not finite."""
    return None if value is None or not isfinite(value) else round(value, digits)
