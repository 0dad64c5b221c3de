import json
import subprocess
import sys
from random import Random

import pytest

from tasks.grading.pool import GradingPool
from tasks.kinds.reasoning_gym import ReasoningGym
from tasks.kinds.reasoning_gym_catalogue import BROKEN, VERIFIER_ONLY, WITH_EXPRESSION

ONE_DIGIT = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
SUM = ReasoningGym(dataset="chain_sum", config=ONE_DIGIT, prompt="expression")


def test_a_short_sum():
    for index in range(20):
        problem = SUM.problem("train", 0, index)
        left, sign, right, equals = problem.prompt.split(" ")
        value = int(left) + int(right) if sign == "+" else int(left) - int(right)
        assert (equals, problem.answer, problem.domain) == ("=", str(value), "chain_sum")
        assert problem.difficulty == 3.0  # 2 terms and 1 digit


def test_the_question_is_the_library_s():
    problem = ReasoningGym(dataset="chain_sum", config=ONE_DIGIT).problem("train", 0, 0)
    assert problem.prompt.startswith("State the final answer")


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("{}", 1.0),
        (" {}\n", 1.0),
        ("<answer>{}</answer>", 1.0),
        ("thinking… <answer> {} </answer> that is it", 1.0),
        ("<answer>77</answer><answer>{}</answer>", 1.0),
        ("<answer>{}</answer><answer>77</answer>", 0.0),
        ("{} 77", 0.0),  # the library gives this part credit
        ("-9 -8 -7 -6 -5 -4 -3 -2 -1 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18", 0.0),
        ("0{}", 0.0),
        ("{}.0", 0.0),
        ("", 0.0),
    ],
)
def test_scores_are_0_or_1(response, score):
    problem = SUM.problem("train", 0, 0)
    assert SUM.grade(problem, response.format(problem.answer)) == score


def test_no_floor_leaks_from_the_library():
    task = ReasoningGym(dataset="fraction_simplification")
    problem = task.problem("train", 0, 0)
    assert task.grade(problem, "junk") == 0.0
    checked = ReasoningGym(dataset="fraction_simplification", scorer="verifier")
    assert checked.grade(problem, "junk") == 0.0
    assert checked.grade(problem, problem.answer) == 1.0


def test_the_verifier_accepts_another_right_answer():
    settings = {"dataset": "countdown", "config": {"min_numbers": 3, "max_numbers": 3}}
    exact, verified = ReasoningGym(**settings), ReasoningGym(**settings, scorer="verifier")
    problem = exact.problem("train", 0, 0)
    other = f"({problem.answer})"
    assert (exact.grade(problem, other), verified.grade(problem, other)) == (0.0, 1.0)


def test_a_verifier_that_raises_means_wrong():
    task = ReasoningGym(dataset="prime_factorization", scorer="verifier")
    problem = task.problem("train", 0, 0)
    assert task.grade(problem, "zzz") == 0.0
    assert task.grade(problem, problem.answer) == 1.0


@pytest.mark.parametrize("dataset", VERIFIER_ONLY)
def test_datasets_without_answers_are_verified_and_have_nothing_to_show(dataset):
    task = ReasoningGym(dataset=dataset)
    problem = task.problem("train", 0, 0)
    assert problem.answer == ""
    assert task.grade(problem, "") == task.grade(problem, "None") == task.grade(problem, "junk") == 0.0
    with pytest.raises(ValueError, match=f"dataset {dataset} has no answers to show"):
        task.demonstrate(problem, Random(0), 0.0)


def test_a_right_colouring_passes_the_verifier():
    task = ReasoningGym(dataset="graph_color", config={"min_num_vertices": 3, "max_num_vertices": 3})
    problem = task.problem("train", 0, 0)
    colours = {str(vertex): vertex + 1 for vertex in range(3)}
    assert task.grade(problem, json.dumps(colours)) == 1.0
    assert task.grade(problem, json.dumps(dict.fromkeys(colours, 9))) == 0.0


def test_workers_load_the_library_before_the_clock_runs():
    task = ReasoningGym(dataset="graph_color")
    problem = task.problem("train", 0, 0)
    with GradingPool(task, timeout_seconds=1.0) as pool:  # the import alone takes longer
        assert pool.grade([problem], ["junk"]).num_timeouts == 0


@pytest.mark.parametrize(
    "dataset", ["binary_matrix", "futoshiki", "mini_sudoku", "n_queens", "rotate_matrix", "tower_of_hanoi"]
)
def test_a_right_answer_of_many_lines_passes_the_verifier(dataset):
    settings = {"min_board_size": 4, "max_board_size": 4} if dataset == "futoshiki" else {}
    task = ReasoningGym(dataset=dataset, config=settings, size=50, scorer="verifier")
    problem = task.problem("train", 0, 0)
    assert "\n" in problem.answer
    assert task.grade(problem, f"I think\n<answer>\n{problem.answer}\n</answer> is right") == 1.0
    assert task.grade(problem, problem.answer.replace("\n", " ")) == 0.0


@pytest.mark.parametrize(
    ("dataset", "response"),
    [
        ("complex_arithmetic", "nan"),
        ("coin_flip", "0"),
        ("polynomial_equations", "junk"),
        ("puzzle24", "6*2*2*1"),
        ("word_sorting", "{}, and, more"),
        ("spell_backward", "{}junk"),
        ("figlet_font", "{}junk"),
        ("letter_jumble", "{} junk"),
        ("number_sorting", "[NaN, NaN, NaN]"),
        ("calendar_arithmetic", "0"),
        ("gsm_symbolic", "not {}"),
        ("gsm_symbolic", "{} thousand"),
        ("time_intervals", "99 days, 99:99"),
        ("quantum_lock", "nan, a cab"),
    ],
)
def test_what_is_wrong_has_no_credit_though_the_library_may_give_some(dataset, response):
    small = {"puzzle24": {"operators": ["+", "*"]}, "quantum_lock": {"difficulty": 3}}
    task = ReasoningGym(dataset=dataset, config=small.get(dataset, {}), scorer="verifier")
    problems = [task.problem("train", 0, index) for index in range(6)]
    answered = [(problem, response.format(problem.answer)) for problem in problems]
    assert [task.grade(p, said) for p, said in answered if said != p.answer] == [0.0] * 6


def test_the_dataset_s_own_answer_is_right_beyond_what_its_verifier_reads():
    degrees = {"min_degree": 140, "max_degree": 150}
    task = ReasoningGym(dataset="simple_integration", config=degrees, size=20, scorer="verifier")
    problem = task.problem("train", 0, 0)
    assert "**14" in problem.answer
    assert (task.grade(problem, problem.answer), task.grade(problem, "C")) == (1.0, 0.0)


def test_an_answer_far_longer_than_any_is_wrong_and_not_read():
    task = ReasoningGym(dataset="chain_sum", scorer="verifier")
    problem = task.problem("train", 0, 0)
    assert task.grade(problem, f"<answer>{' ' * 100}{problem.answer}</answer>") == 1.0
    assert task.grade(problem, f"<answer>{' ' * 20_000}{problem.answer}</answer>") == 0.0


def test_a_dataset_that_a_later_version_adds_is_refused(monkeypatch):
    from reasoning_gym.factory import DATASETS

    monkeypatch.setitem(DATASETS, "of_tomorrow", DATASETS["chain_sum"])
    for scorer in ("exact", "verifier"):
        with pytest.raises(ValueError, match=r"dataset of_tomorrow is refused: .*; name another dataset"):
            ReasoningGym(dataset="of_tomorrow", scorer=scorer)


@pytest.mark.parametrize("dataset", BROKEN)
def test_broken_datasets_are_refused_with_the_reason(dataset):
    with pytest.raises(ValueError, match=f"dataset {dataset} is refused: it"):
        ReasoningGym(dataset=dataset)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "chain_sums"}, "dataset must be .*, got 'chain_sums'; did you mean 'chain_sum'"),
        ({"dataset": "%"}, "dataset must be .*, got '%'; known are ab, acre"),
        ({"config": {"min_term": 2}}, "config has no 'min_term' for chain_sum; did you mean 'min_terms'"),
        ({"config": {"min_terms": 0}}, "config is refused by chain_sum: min_terms must be positive"),
        ({"config": {"seed": 3}}, "config must not set seed"),
        ({"size": 1}, "size must be between 2 and 1000000, got 1"),
        ({"prompt": "all"}, "prompt must be question or expression, got 'all'"),
        ({"dataset": "gcd", "prompt": "expression"}, "prompt must be question for gcd: expression is for"),
        ({"scorer": "library"}, "scorer must be exact or verifier, got 'library'"),
    ],
)
def test_settings_are_guarded(settings, message):
    with pytest.raises(ValueError, match=message):
        ReasoningGym(**{"dataset": "chain_sum"} | settings)


@pytest.mark.parametrize("dataset", WITH_EXPRESSION)
def test_the_datasets_that_are_sums_have_their_expression(dataset):
    problem = ReasoningGym(dataset=dataset, prompt="expression").problem("train", 0, 0)
    assert problem.prompt.endswith(" =")
    assert set(problem.prompt) <= set("0123456789.+-*/() =")


def test_difficulty_is_0_where_the_library_reports_none():
    assert ReasoningGym(dataset="acre", size=20).problem("train", 0, 0).difficulty == 0.0


IN_ANOTHER_PROCESS = """
import random, sys
from reasoning_gym.factory import DATASETS
from tasks.kinds.reasoning_gym import ReasoningGym
from tasks.kinds.reasoning_gym_catalogue import BROKEN
random.seed(sys.argv[1])
for name in sorted(set(DATASETS) - set(BROKEN)):
    task = ReasoningGym(dataset=name, size=500)
    for index in range(3):
        problem = task.problem("train", 0, index)
        right = problem.facts["has_answer"] and task.grade(problem, problem.answer)
        print(name, index, hash_of(problem.prompt + problem.answer), right)
"""


@pytest.mark.slow
def test_every_dataset_that_is_not_refused_is_the_same_in_every_process():
    code = "from tasks.splits import stable_hash as hash_of\n" + IN_ANOTHER_PROCESS
    runs = [
        subprocess.run(
            [sys.executable, "-c", code, seed],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        ).stdout.splitlines()
        for seed in "12"
    ]
    assert [line for line, other in zip(*runs, strict=True) if line != other] == []
    unverified = {line.split()[0] for line in runs[0] if line.endswith("False")}
    assert unverified == set(VERIFIER_ONLY)
    assert not [line for line in runs[0] if line.endswith("0.0")]
