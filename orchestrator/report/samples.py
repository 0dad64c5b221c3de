"""The samples of a campaign for its page: a browser by iteration, arm, domain, right or wrong.

The page has those of one seed of each arm; of long runs fewer iterations, the same of every arm, and of many samples
the first.  The rest is in the runs' folders.
Its script sets texts as texts, so nothing that a policy says is read as HTML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite
from pathlib import Path
from typing import Any

from markupsafe import Markup

from orchestrator.report.plot_style import thinned
from orchestrator.report.rendering import json_for_script, rendered
from orchestrator.storage.run_data import ArmRecords, CampaignRecords
from orchestrator.storage.samples import Sample, sample_files, undamaged_samples

MOST_CHARACTERS = 2_000_000
"""Size of all samples on a page, which shall open on a phone."""
FEWEST_ITERATIONS = 10
"""As long as there are more, there are fewer iterations; then there are fewer samples of each."""

Entry = dict[str, Any]


def samples_of(campaign: CampaignRecords) -> list[Entry]:
    """One entry a sample, for the page's script, arm after arm, in the order of time."""
    sources = list(_sources(campaign.arms))
    sizes: Counter[int] = Counter()
    for source in sources:
        for iteration in source.files:
            sizes[iteration] += sum(map(_size, source.entries(iteration)))
    kept = _spread(sizes)
    return _first_that_fit([source.entries(iteration) for source in sources for iteration in kept])


def samples_section(samples: Sequence[Mapping[str, Any]], campaign: CampaignRecords) -> Markup:
    """The frame that the script fills; nothing where there is none."""
    if not samples:
        return Markup()
    domains = sorted({each["domain"] for each in samples})
    return rendered(
        "samples.html",
        names=[(number, campaign.arms[number].name) for number in sorted({each["arm"] for each in samples})],
        domains=[(name, name) for name in domains],
        last=len({each["iteration"] for each in samples}) - 1,
        seeds=sorted({each["seed"] for each in samples}),
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """The run whose samples stand for an arm."""

    arm: int
    seed: int
    files: Mapping[int, Path]

    def entries(self, iteration: int) -> list[Entry]:
        """The samples of an iteration, in their order."""
        path = self.files.get(iteration)
        return [_entry(each, self.arm, self.seed) for each in undamaged_samples(path)] if path else []


def _sources(arms: Iterable[ArmRecords]) -> Iterator[_Source]:
    """The first seed of each arm that has samples."""
    for number, arm in enumerate(arms):
        for run in arm.runs:
            files = sample_files(run.samples_path) if run.samples_path else {}
            if files:
                yield _Source(number, run.info.seed, files)
                break


def _size(entry: Entry) -> int:
    return len(json_for_script(entry)) + len(", ")


def _spread(sizes: Mapping[int, int]) -> list[int]:
    """As many iterations as there is room for by their sizes, and a few at least, spread over the run."""
    times = sorted(sizes)
    most = len(times) * MOST_CHARACTERS // max(MOST_CHARACTERS, sum(sizes.values()))
    while True:
        kept = [times[index] for index in thinned(len(times), max(most, FEWEST_ITERATIONS))]
        if most <= FEWEST_ITERATIONS or sum(sizes[each] for each in kept) <= MOST_CHARACTERS:
            return kept
        most -= 1


def _first_that_fit(groups: Iterable[list[Entry]]) -> list[Entry]:
    """The samples for which there is room: each arm's first, at its last iteration first, then the second ones."""
    placed = [(place, entry) for group in groups for place, entry in enumerate(group)]

    def turn(index: int) -> tuple[int, int, int]:
        place, entry = placed[index]
        return place, -entry["iteration"], entry["arm"]

    in_turn = sorted(range(len(placed)), key=turn)
    totals = accumulate(_size(placed[index][1]) for index in in_turn)
    fitting = {index for index, total in zip(in_turn, totals, strict=True) if total <= MOST_CHARACTERS}
    return [entry for index, (_, entry) in enumerate(placed) if index in fitting]


def _entry(sample: Sample, arm: int, seed: int) -> Entry:
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
