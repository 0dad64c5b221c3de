import json
import pickle
import warnings
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.grading.pool import GradingPool
from tasks.kinds.math_word import MathWord
from tasks.splits import held_out_set

GSM8K = {
    "question": "Natalia sold {i} clips in April, and half as many in May. How many altogether?",
    "answer": "In May she sold {i}/2 clips.\n#### 1,0{i}",
}
MATH = {
    "problem": "Find the {i}th root.",
    "level": "Level 5",
    "type": "Counting & Probability",
    "solution": r"We see \boxed{{1}}, so it is $\boxed{{\frac{{{i}}}{{2}}}}$.",
}


def filled(template, number=40):
    return [{key: text.format(i=10 + i) for key, text in template.items()} for i in range(number)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_layout_of_gsm8k(tmp_path):
    task = MathWord(path=write(tmp_path / "f.jsonl", filled(GSM8K)), layout="gsm8k")
    problem = task.problem("train", 0, 0)
    clips = problem.prompt.split()[2]
    assert problem.prompt.startswith("Natalia sold")
    assert problem.answer == f"10{clips}"  # without the comma
    assert (problem.domain, problem.difficulty) == ("gsm8k", 0.0)


def test_the_layout_of_math(tmp_path):
    task = MathWord(path=write(tmp_path / "f.jsonl", filled(MATH)), layout="math")
    problem = task.problem("train", 0, 0)
    number = problem.prompt.split()[2].removesuffix("th")
    assert problem.answer == rf"\frac{{{number}}}{{2}}"  # the last box, with its braces
    assert (problem.domain, problem.difficulty) == ("Counting & Probability", 5.0)


@pytest.mark.parametrize(("level", "difficulty"), [(3, 3.0), ("Level ?", 0.0), ("4", 4.0), (2.5, 2.5)])
def test_levels_are_read_from_numbers_and_texts(tmp_path, level, difficulty):
    rows = [{**row, "level": level, "subject": "Algebra"} for row in filled(MATH)]
    problem = MathWord(path=write(tmp_path / "f.jsonl", rows), layout="math").problem("train", 0, 0)
    assert (problem.domain, problem.difficulty) == ("Algebra", difficulty)


def test_the_layout_of_dapo_with_its_repeats(tmp_path):
    rows = [
        {
            "data_source": "math_dapo",
            "prompt": [{"role": "user", "content": f"Solve it step by step.\n\nHow many are {i}?"}],
            "ability": "MATH",
            "reward_model": {"ground_truth": str(i), "style": "rule-lighteval/MATH_v2"},
        }
        for i in range(40)
    ]
    path = tmp_path / "dapo.parquet"
    pq.write_table(pa.Table.from_pylist(rows * 3), path)
    task = MathWord(path=str(path), layout="dapo", held_out_fraction=0.2)
    problem = task.problem("train", 0, 0)
    assert problem.prompt == f"Solve it step by step.\n\nHow many are {problem.answer}?"
    assert problem.domain == "dapo"
    different = {task.problem("train", 0, index).prompt for index in range(200)}
    epoch = {task.problem("train", 0, index).prompt for index in range(len(different))}
    assert epoch == different  # no repeat within an epoch


def test_own_columns_overrule_the_layout(tmp_path):
    rows = [{"q": f"{i}?", "meta": {"a": i, "of": "chess"}, "elo": i} for i in range(40)]
    task = MathWord(
        path=write(tmp_path / "f.jsonl", rows),
        question_key="q",
        answer_key="meta.a",
        domain_key="meta.of",
        difficulty_key="elo",
        instruction=" Box it.",
    )
    problem = task.problem("train", 0, 0)
    assert problem.prompt == f"{problem.answer}? Box it."
    assert (problem.domain, problem.difficulty) == ("chess", float(problem.answer))


def test_the_instruction_moves_no_problem_to_the_other_side(questions_file):
    bare = MathWord(path=questions_file)
    told = MathWord(path=questions_file, instruction="\nBox it.")
    assert [p.prompt + "\nBox it." for p in held_out_set(bare, 3)] == [
        p.prompt for p in held_out_set(told, 3)
    ]


def test_a_second_file_is_held_out_and_kept_out_of_training(tmp_path):
    task = MathWord(
        path=write(tmp_path / "train.jsonl", filled(GSM8K, 10)),
        held_out_path=write(tmp_path / "test.jsonl", filled(GSM8K, 12)[8:]),
        layout="gsm8k",
    )
    train = {task.problem("train", 0, index).prompt.split()[2] for index in range(30)}
    assert train == {str(10 + i) for i in range(8)}
    assert {p.prompt.split()[2] for p in held_out_set(task, 4)} == {"18", "19", "20", "21"}


def test_splits_of_a_data_set(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", filled(GSM8K, 10))
    write(folder / "test.jsonl", filled(GSM8K, 12)[10:])
    task = MathWord(dataset=str(folder), layout="gsm8k", held_out_split="test")
    assert {p.prompt.split()[2] for p in held_out_set(task, 2)} == {"20", "21"}
    assert len({task.problem("train", 0, index).prompt for index in range(30)}) == 10


@pytest.mark.parametrize(
    ("response", "score"),
    [
        (r"so \boxed{\frac{7}{2}}", 1.0),
        (r"\boxed{3.5}", 1.0),
        (r"\boxed{1} no: \boxed{7/2}", 1.0),
        (r"\boxed{7/2} no: \boxed{1}", 0.0),
        (r"7/2 so \boxed{", 0.0),  # cut before its answer
        ("7/2", 1.0),
        ("It is 1, no\n7/2", 1.0),
        ("working\n#### 3.5\n", 1.0),
        ("#### 8\nand so 7/2", 0.0),
        (r"<think>\boxed{7/2}</think>It is 8", 0.0),
        (r"<think>\boxed{8}</think>It is 7/2", 1.0),
        (r"<think>It is 7/2", 0.0),  # cut while it thought
        ("Done! It is 7/2", 1.0),
        ("2", 0.0),
        ("", 0.0),
    ],
)
def test_boxed_marked_and_plain_answers(questions_file, response, score):
    task = MathWord(path=questions_file)
    problem = replace(task.problem("train", 0, 0), answer="7/2")
    assert task.grade(problem, response) == score


def test_a_box_can_be_asked_for(questions_file):
    task = MathWord(path=questions_file, boxed_only=True)
    problem = task.problem("train", 0, 0)
    assert task.grade(problem, problem.answer) == 0.0
    assert task.grade(problem, task.demonstrate(problem, Random(0), 0.0)) == 1.0
    assert set(r"\boxed{}") <= set(task.alphabet())


def test_hostile_expressions_cost_no_worker_its_life(questions_file):
    task = MathWord(path=questions_file)
    problem = task.problem("train", 0, 0)
    hostile = [r"\boxed{9^{9^{9^9}}}", r"\boxed{(10^8)!}", r"\boxed{2^{10^10}}", r"\boxed{" + "(" * 200 + "}"]
    with GradingPool(task, timeout_seconds=5.0) as pool:
        grades = pool.grade([problem] * 33, [*hostile * 8, problem.answer])
    assert grades.scores == [0.0] * 32 + [1.0]
    assert (grades.num_timeouts, grades.num_errors, grades.num_crashes) == (0, 0, 0)


def test_graders_need_not_the_data(tmp_path, questions_file):
    task = MathWord(path=questions_file)
    problem = task.problem("train", 0, 0)
    elsewhere = pickle.loads(pickle.dumps(MathWord(path=str(tmp_path / "gone.jsonl"))))
    assert elsewhere.grade(problem, problem.answer) == 1.0


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        (
            [{"q": "2+3?", "a": "5"}],
            {},
            r"f\.jsonl, line 1: has no 'question', only 'q', 'a'; .*question_key",
        ),
        ([{"question": "x", "a": "5"}], {}, r"line 1: has no 'answer', only 'question', 'a'; .*answer_key"),
        (
            [{"question": "x", "answer": "5"}],
            {"domain_key": "subject"},
            r"has no 'subject', only 'question', 'answer'; .*domain_key",
        ),
        ([{"question": "x", "answer": "5"}], {"layout": "gsm8k"}, "does not hold #### and an answer"),
        ([{"problem": "x", "solution": "5"}], {"layout": "math"}, r"no 'subject'|boxed"),
        ([{"question": "x", "answer": ""}], {}, "'answer' must not be blank"),
        ([{"question": "x", "answer": None}], {}, "'answer' must be text, got null"),
        ([{"question": [{"role": "assistant", "content": "x"}], "answer": "5"}], {}, "role 'assistant'"),
        ([{"question": ["x"], "answer": "5"}], {}, "must be text or messages with a role and content"),
        ([{"question": [{"role": "user", "content": " "}], "answer": "5"}], {}, "must not be blank"),
        ([{"question": "x", "answer": "5", "d": -1}], {"difficulty_key": "d"}, "must be a number from 0 up"),
        ([], {}, r"f\.jsonl: is empty; it needs one problem a row"),
    ],
)
def test_a_data_set_that_is_not_as_named_is_refused(tmp_path, rows, settings, message):
    task = MathWord(path=write(tmp_path / "f.jsonl", rows), **settings)
    with pytest.raises(ValueError, match=message):
        task.problem("train", 0, 0)


def test_a_parquet_file_without_the_column_names_those_it_has(tmp_path):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"frage": ["x"], "antwort": ["5"]}), path)
    with pytest.raises(ValueError, match=r"f\.parquet, row 1: has no 'question', only 'frage', 'antwort'"):
        MathWord(path=str(path)).problem("train", 0, 0)


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("1234567.0", "1234567.0"),
        ("100000.5", "100000.5"),
        ("0.10", "0.10"),
        ("12345678901234567890", "12345678901234567890"),
        ("1e-7", "1E-7"),
        ("-3", "-3"),
        ('"1234567.0"', "1234567.0"),
    ],
)
def test_a_gold_number_keeps_its_text(tmp_path, written, answer):
    path = tmp_path / "f.jsonl"
    path.write_text("".join(f'{{"question": "{i}", "answer": {written}}}\n' for i in range(40)))
    task = MathWord(path=str(path))
    problem = task.problem("train", 0, 0)
    assert problem.answer == answer
    assert task.grade(problem, rf"\boxed{{{written.strip(chr(34))}}}") == 1.0


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_gold_answer_that_is_no_number_is_refused(tmp_path, constant):
    path = tmp_path / "f.jsonl"
    path.write_text(f'{{"question": "a", "answer": 1}}\n{{"question": "b", "answer": {constant}}}\n')
    with pytest.raises(
        ValueError, match=rf"f\.jsonl, line 2: 'answer' must be text or a finite number, got {constant};"
    ):
        MathWord(path=str(path)).problem("train", 0, 0)


def test_a_gold_answer_inside_a_column_is_looked_at_too(tmp_path):
    row = '{"prompt": "x", "reward_model": {"ground_truth": NaN}}'
    (tmp_path / "f.jsonl").write_text(row)
    with pytest.raises(
        ValueError, match=r"line 1: 'reward_model\.ground_truth' must be text or a finite number"
    ):
        MathWord(path=str(tmp_path / "f.jsonl"), layout="dapo").problem("train", 0, 0)


def table_of(path, column):
    pq.write_table(pa.table({"question": [f"{i}?" for i in range(len(column))], "answer": column}), path)
    return MathWord(path=str(path))


@pytest.mark.parametrize(
    ("column", "answer"),
    [
        (pa.array([Decimal("5.00")] * 40, pa.decimal128(5, 2)), "5.00"),
        (pa.array([0.1] * 40, pa.float32()), "0.1"),
        (pa.array([1234567.0] * 40), "1234567.0"),
        (pa.array([2**62] * 40), str(2**62)),
    ],
)
def test_numbers_of_a_table_are_read_as_they_are(tmp_path, column, answer):
    assert table_of(tmp_path / "f.parquet", column).problem("train", 0, 0).answer == answer


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (date(2024, 1, 2), r"the date datetime\.date\(2024, 1, 2\)"),
        (datetime(2024, 1, 2, tzinfo=UTC), "the datetime"),
        (timedelta(days=1), "the timedelta"),
        (b"5", "the bytes b'5'"),
        (True, "true"),
        (None, "null"),
        ([1, 2], r"\[1, 2\]"),
        ({"a": b"5"}, "the dict"),
    ],
)
def test_a_column_that_is_neither_text_nor_number_is_refused_in_one_line(tmp_path, value, shown):
    task = table_of(tmp_path / "f.parquet", [value])
    with pytest.raises(ValueError, match=rf"f\.parquet, row 1: 'answer' must be text, got {shown}") as error:
        task.problem("train", 0, 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_table_without_a_finite_number_is_refused(tmp_path, value):
    for kind in (pa.float64(), pa.float32()):
        with pytest.raises(ValueError, match=r"row 2: 'answer' must be text or a finite number, got"):
            table_of(tmp_path / "f.parquet", pa.array([1.0, value], kind)).problem("train", 0, 0)


def test_a_list_of_gsm8k_keeps_its_commas(tmp_path):
    rows = [{"question": str(i), "answer": "so\n#### 1,234, 5"} for i in range(40)]
    task = MathWord(path=write(tmp_path / "f.jsonl", rows), layout="gsm8k")
    assert task.problem("train", 0, 0).answer == "1234, 5"


def test_a_box_without_braces_is_a_gold_answer(tmp_path):
    rows = [row | {"solution": r"so it is $\boxed 2$."} for row in filled(MATH)]
    problem = MathWord(path=write(tmp_path / "f.jsonl", rows), layout="math").problem("train", 0, 0)
    assert problem.answer == "2"


def test_questions_with_different_answers_are_left_out_and_counted(tmp_path):
    rows = [{"question": f"{i}?", "answer": str(i)} for i in range(40)]
    again = [
        {"question": "3?", "answer": "4"},
        {"question": "5?", "answer": "5.0"},
        {"question": "3?", "answer": "3"},
    ]
    task = MathWord(path=write(tmp_path / "f.jsonl", rows + again))
    said = r"f\.jsonl: 1 of 40 questions stand there again .*line 4 says '3', .*line 41 says '4'\); they are left out"
    with pytest.warns(UserWarning, match=said):
        prompts = {
            task.problem(split, 0, index).prompt for split in ("train", "held_out") for index in range(80)
        }
    assert prompts == {f"{i}?" for i in range(40) if i != 3}


def test_repeats_with_the_same_answer_say_nothing(tmp_path):
    rows = [{"question": f"{i}?", "answer": answer} for i in range(40) for answer in ("1/2", "0.5")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert MathWord(path=write(tmp_path / "f.jsonl", rows)).problem("train", 0, 0).answer == "1/2"


def test_where_all_answers_differ_nothing_is_left(tmp_path):
    rows = [{"question": "x", "answer": answer} for answer in ("1", "2")]
    with pytest.raises(
        ValueError, match=r"1 of 1 questions stand there again with another answer .*keep one"
    ):
        MathWord(path=write(tmp_path / "f.jsonl", rows)).problem("train", 0, 0)


def test_a_system_message_is_kept_as_one(tmp_path):
    rows = [
        {
            "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": f"{i}?"}],
            "reward_model": {"ground_truth": str(i)},
        }
        for i in range(40)
    ]
    task = MathWord(path=write(tmp_path / "f.jsonl", rows), layout="dapo", instruction=" Box it.")
    problem = task.problem("train", 0, 0)
    assert (problem.system, problem.prompt) == ("Think.", f"{problem.answer}? Box it.")
    assert problem.text == f"Think.\n\n{problem.prompt}"
    assert set("Think.") <= set(task.alphabet())


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([("user", "a"), ("system", "b")], "a message of the system after another"),
        ([("system", "a"), ("system", "b"), ("user", "c")], "a message of the system after another"),
        ([("system", "a")], "must not be blank"),
    ],
)
def test_a_system_message_elsewhere_is_refused(tmp_path, messages, message):
    rows = [{"question": [{"role": role, "content": text} for role, text in messages], "answer": "5"}]
    with pytest.raises(ValueError, match=message):
        MathWord(path=write(tmp_path / "f.jsonl", rows)).problem("train", 0, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "path must be set where dataset is not"),
        ({"path": "f.jsonl", "dataset": "a/b"}, "path must be set where dataset is not"),
        ({"path": "f.csv"}, "path must end in .parquet or .jsonl"),
        ({"path": "f.jsonl", "layout": "gsm"}, "layout must be one of plain, gsm8k, math, dapo"),
        ({"path": "f.jsonl", "revision": "main"}, "revision is for a dataset"),
        ({"path": "f.jsonl", "held_out_fraction": 1.0}, "held_out_fraction must be between 0 and 1"),
        (
            {"dataset": "a/b", "held_out_split": "test", "held_out_path": "f.jsonl"},
            "must not be set beside held_out_split",
        ),
    ],
)
def test_settings_are_guarded(settings, message):
    with pytest.raises(ValueError, match=message):
        MathWord(**settings)
