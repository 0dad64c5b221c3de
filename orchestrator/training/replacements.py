"""Dynamic sampling: groups whose responses all have the same reward are replaced by those of other prompts.

Such a group has no advantages and teaches nothing.  DAPO (arXiv 2503.14476, equation 11) draws until the batch is full of
others; here the number of further draws is bounded, and what is left without a signal then stays.  Every place
of a batch is drawn again by its own address, so neither ranks nor a resumed run change what comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.training.batch_shares import Drawing, Share
from orchestrator.training.experience import Explorer
from orchestrator.training.seeds import derive_seed
from policies.rollouts.base import Sampling
from tasks import Problem
from tasks.grading.batch import Grades


def try_until_mixed(
    explorer: Explorer,
    problems: Sequence[Problem],
    num_samples: int,
    sampling: Sampling,
    *,
    extra_rounds: int,
    another: Callable[[int, int], Problem],
) -> Share:
    """This rank's share of a batch, in which groups without a signal are replaced at most ``extra_rounds`` times.

    Args:
        explorer: who tries.
        problems: [P], of the first draw.
        num_samples: G.
        sampling: how.
        extra_rounds: 0 replaces none.
        another: the problem for a place of the batch at a further draw, (place, draw) with draws from 1.
    """
    with explorer.engine.session():  # one for all draws, whose number differs from rank to rank
        share = explorer.try_share(problems, num_samples, sampling)
        if not extra_rounds:
            return share
        first = explorer.ranks.share(len(problems)).start
        drawing = Drawing(
            draws=[0] * len(share.problems), num_groups=len(share.problems), score=sum(share.grades.scores)
        )
        share = replace(share, drawing=drawing)
        for draw in range(1, extra_rounds + 1):
            uniform = uniform_groups(share.grades.scores, num_samples)
            if not uniform:
                break
            places = tuple(first + group for group in uniform)
            again = replace(sampling, seed=derive_seed(sampling.seed, "draw", draw), numbers=places)
            tried = explorer.try_all([another(place, draw) for place in places], num_samples, again)
            drawing = Drawing(
                draws=[draw if group in uniform else before for group, before in enumerate(drawing.draws)],
                num_groups=drawing.num_groups + len(uniform),
                score=drawing.score + sum(tried.grades.scores),
            )
            share = replace(_replaced(share, uniform, tried, num_samples), drawing=drawing)
        return share


def uniform_groups(scores: Sequence[float], num_samples: int) -> list[int]:
    """Numbers of the groups whose scores [p * G] are all the same."""
    groups = [scores[start : start + num_samples] for start in range(0, len(scores), num_samples)]
    return [number for number, group in enumerate(groups) if len(set(group)) == 1]


def _replaced(share: Share, groups: Sequence[int], tried: Share, num_samples: int) -> Share:
    """The share with what was tried in the place of some groups."""
    problems, prompts, completions = list(share.problems), list(share.prompts), list(share.completions)
    scores = list(share.grades.scores)
    for number, group in enumerate(groups):
        old = slice(group * num_samples, (group + 1) * num_samples)
        new = slice(number * num_samples, (number + 1) * num_samples)
        problems[group], prompts[group] = tried.problems[number], tried.prompts[number]
        completions[old], scores[old] = tried.completions[new], tried.grades.scores[new]
    return Share(
        problems=problems,
        prompts=prompts,
        completions=completions,
        grades=replace(Grades.join([share.grades, tried.grades]), scores=scores),
        seconds={phase: seconds + tried.seconds[phase] for phase, seconds in share.seconds.items()},
    )
