"""Every dataset that a task can name: right answers are right, wrong ones are wrong, and the library agrees."""

import hashlib
import inspect
import json
from pathlib import Path
from random import Random

import pytest
from gym_problems import DATASETS, entry, is_right, library_says_right, settings, solution, verifying

from tasks.kinds.reasoning_gym import ReasoningGym
from tasks.kinds.reasoning_gym_catalogue import BROKEN, VERIFIER_ONLY

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"  # the library leaves files of its own open
)

NUM_PROBLEMS = 20
FINGERPRINTS = Path(__file__).parents[1] / "reasoning_gym_verifiers.json"

DEGENERATE = [
    *("", " ", "\n", "0", "1", "-1", "2", "0.0", "1.0", "0/1", "nan", "NaN", "inf", "-inf", "1e309", "i"),
    *("None", "True", "False", "null", "true", "a", "A", "x", "*", ".", "?", '""', "''", "[]", "{}", "()"),
    *("[[]]", "[NaN]", "[null]", '[""]', "[{}]", '{"a": 1}', "0x0", "×", "=", ",", "→", "¬", "C", "()()"),
    *("2*3*4*1", "6*2*2*1", "P ∨ ¬P", "P", "A+1", "U", "R R R R", "0 days", "00:00", "yes", "no", "°"),
]
"""What a policy says that has found out that saying nothing pays."""


@pytest.mark.parametrize("dataset", DATASETS)
def test_right_answers_are_right(dataset):
    solutions = [(index, solution(dataset, index)) for index in range(NUM_PROBLEMS)]
    solutions = [(index, answer) for index, answer in solutions if answer is not None]
    assert len(solutions) >= NUM_PROBLEMS // 2
    assert [answer for index, answer in solutions if not is_right(dataset, index, answer)] == []
    laid_out = [answer.replace("\n", " \n\n ") for _, answer in solutions]
    padded = [f"  {answer}\n\n" for answer in laid_out]
    assert [a for (index, _), a in zip(solutions, padded) if not is_right(dataset, index, a)] == []


@pytest.mark.parametrize("dataset", DATASETS)
def test_degenerate_answers_are_wrong(dataset):
    """Right only where they are the answer: equal to the dataset's own, or so for the library as well."""
    for index in range(NUM_PROBLEMS):
        problem = entry(dataset, index)
        gold = (problem["answer"] or "").strip().lower()
        for answer in [*DEGENERATE, problem["question"]]:
            if is_right(dataset, index, answer) and answer.strip().lower() != gold:
                assert library_says_right(dataset, index, answer), (index, answer, gold)
                assert (dataset, answer) in HAPPEN_TO_BE_RIGHT, (index, answer, gold)


HAPPEN_TO_BE_RIGHT = {
    ("coin_flip", "1.0"),  # of what is sure
    ("power_function", "1"),
    ("products", "0.0"),
    ("polynomial_equations", "0"),  # a root at 0.0
    ("puzzle24", "2*3*4*1"),  # where these are the numbers given
    ("puzzle24", "6*2*2*1"),
    ("rush_hour", "A+1"),
}


@pytest.mark.parametrize("dataset", DATASETS)
def test_any_text_is_right_or_wrong(dataset):
    """Nothing comes out of a verifier but a verdict, of right answers with slips and of random characters."""
    rng = Random(dataset)
    for number in range(60):
        letters = list((solution(dataset, number % 3) or "") if number % 3 else "")
        for _ in range(rng.randint(1, 20)):
            place = rng.randrange(len(letters) + 1)
            letters[place : place + rng.randrange(2)] = rng.choice(CHARACTERS) * rng.randrange(2)
        assert is_right(dataset, number % 3, "".join(letters)) in (True, False)


CHARACTERS = "0123456789abcABCXyPQ[]{}(),.:;=+-*/×→∧∨¬ \n'\"$\\_<>|#eE\x00\ud800٣²"


@pytest.mark.parametrize("dataset", DATASETS)
def test_of_answers_that_are_meant_the_library_says_the_same(dataset):
    """A right answer, those of other problems, and a right answer with its first or last part missing."""
    others = [answer for index in range(8) if (answer := solution(dataset, index)) is not None]
    for index in range(4):
        words = (solution(dataset, index) or "").split(" ")
        for answer in [*others, " ".join(words[1:]), " ".join(words[:-1])]:
            if (dataset, is_right(dataset, index, answer)) != (
                "puzzle24",
                False,
            ):  # any four numbers please it
                assert is_right(dataset, index, answer) == library_says_right(dataset, index, answer), answer


@pytest.mark.parametrize("dataset", sorted(set(DATASETS) - set(VERIFIER_ONLY)))
def test_the_exact_scorer_credits_nothing_but_the_answer(dataset):
    task = ReasoningGym(**settings(dataset))
    for index in range(4):
        problem = task.problem("train", 0, index)
        assert task.grade(problem, problem.answer) == 1.0
        for response in [*DEGENERATE, problem.prompt]:
            same = response.split() == problem.answer.split()
            assert task.grade(problem, response) == float(same), (response, problem.answer)


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_verifier_of_the_library_is_asked(dataset, monkeypatch):
    from reasoning_gym.factory import DATASETS as OF_THE_LIBRARY
    from reasoning_gym.factory import ProceduralDataset

    def evaluated(*_, **__):
        raise AssertionError("the library's verifier was asked")

    monkeypatch.setattr(ProceduralDataset, "score_answer", evaluated)
    monkeypatch.setattr(OF_THE_LIBRARY[dataset][0], "score_answer", evaluated)
    task = verifying(dataset)
    for response in ("", "junk", "[1]", "1+1", "<answer>x</answer>"):
        task.grade(task.problem("train", 0, 0), response)


def test_every_dataset_of_the_library_is_verified_by_us_or_refused():
    from reasoning_gym.factory import DATASETS as OF_THE_LIBRARY

    assert set(DATASETS).isdisjoint(BROKEN)
    assert set(OF_THE_LIBRARY) == {*DATASETS, *BROKEN}


def test_the_library_s_verifiers_are_those_that_were_read():
    """What an answer looks like may change with the library: read those that differ, then write them down."""
    from reasoning_gym.factory import DATASETS as OF_THE_LIBRARY

    written = json.loads(FINGERPRINTS.read_text())
    found = {name: fingerprint(made[0]) for name, made in OF_THE_LIBRARY.items()}
    assert {name for name in {*written, *found} if written.get(name) != found.get(name)} == set()


def fingerprint(dataset_class):
    return hashlib.sha256(inspect.getsource(dataset_class.score_answer).encode()).hexdigest()[:16]
