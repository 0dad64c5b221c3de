"""What notes at trials say: each counts once, whatever its attempts."""

from __future__ import annotations

from types import SimpleNamespace

from orchestrator.tuning.attempts import OUTCOME, ROOT, UNTRAINED, counted, num_open, root


def trial(number, state="COMPLETE", outcome=None, of=None):
    attributes = ({OUTCOME: outcome} if outcome else {}) | ({} if of is None else {ROOT: of})
    system = {} if of is None else {"failed_trial": of}
    return SimpleNamespace(
        number=number, state=SimpleNamespace(name=state), user_attrs=attributes, system_attrs=system
    )


def test_a_trial_counts_once_for_all_of_its_attempts():
    trials = [
        trial(0, "FAIL", "replaced"),
        trial(1, "RUNNING"),
        trial(2, "WAITING"),
        trial(3, "WAITING", of=0),
    ]
    assert counted(trials) == 2  # the one that waits in the queue for its first worker has not begun
    assert num_open(trials) == 2
    assert not num_open([trial(0), trial(1, "WAITING"), trial(2, "FAIL", "failed")])


def test_a_trial_that_goes_on_is_never_one_too_many():
    """Two of two began, the first goes on as number 2, and a third was drawn at the same moment."""
    trials = [trial(0, "FAIL", "replaced"), trial(1), trial(2, "RUNNING", of=0), trial(3, "RUNNING")]
    assert counted(trials, before=root(trials[2])) == 0
    assert counted(trials, before=root(trials[3])) == 2


def test_twenty_that_were_not_trained_count_as_one():
    untrained = [trial(number, "PRUNED", UNTRAINED) for number in range(40)]
    assert (counted(untrained[:19]), counted(untrained)) == (0, 2)
