import pytest

from tasks.answers.extraction import (
    after_thinking,
    boxed_answer,
    marked_answer,
    matched_answer,
    normalised,
    tagged_answer,
)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("42", "42"),
        ("I think <answer>42</answer>, done", "42"),
        ("<answer>1</answer> no: <answer>2</answer>", "2"),
        ("<answer>a\nb</answer>", "a\nb"),
        ("<answer></answer>", ""),
        ("<answer>1<answer>2</answer>", "2"),
        ("<answer>42", "<answer>42"),
        ("42</answer>", "42</answer>"),
        ("</answer>42<answer>", "</answer>42<answer>"),
        ("", ""),
    ],
)
def test_the_last_tagged_answer_counts(response, answer):
    assert tagged_answer(response) == answer


@pytest.mark.parametrize("spam", ["<answer>", "</answer>", "<", "<answer></answer"])
@pytest.mark.timeout(60)
def test_spam_is_searched_in_one_pass(spam):
    text = spam * 100_000  # over half an hour for a search that begins again at every tag
    assert tagged_answer(text) == text


@pytest.mark.parametrize(
    ("response", "pattern", "answer"),
    [
        ("so 42", None, "so 42"),
        ("2+3 is 5\n#### 5", r"#### (.+)", "5"),
        ("#### 4\n#### 5", r"#### (.+)", "5"),
        ("1, 2, 3", r"\d+", "3"),
        ("none", r"\d+", "none"),
        ("b", r"(a)|b", ""),
    ],
)
def test_the_last_match_counts(response, pattern, answer):
    assert matched_answer(response, pattern) == answer


def test_white_space_is_normalised():
    assert normalised("  1 2\n\t3 ") == "1 2 3"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1}, no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}} of it", r"\frac{1}{2}"),
        (r"\boxed{}", ""),
        (r"\boxed{1} and \boxed{2", ""),  # cut before its answer
        ("42", None),
        (r"\boxed 42", "42"),
        (r"\boxed {7}", "7"),
        (r"\fbox{7}", "7"),
        (r"\framebox{7}", "7"),
        (r"$\boxed 2$", "2"),
        (r"so $x = \boxed x+1$ and $y$", "x+1"),
        (r"so \boxed 1,234.5 is it", "1,234.5"),
        (r"\boxed\frac12", r"\frac12"),
        (r"\boxed\frac{\sqrt{3}}{2} is it", r"\frac{\sqrt{3}}{2}"),
        (r"\boxed\pi", r"\pi"),
        (r"\boxed -3", "-3"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{ \fbox{ \boxed{7} } }", "7"),
        (r"\boxed{x = \boxed{7}}", r"x = \boxed{7}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"$\boxed{2}$ and $\boxed{3}$", "2, 3"),
        (r"\boxed{2}, \boxed{3}, or \boxed{4}", "2, 3, 4"),
        (r"\boxed{5}, \boxed{5}", "5"),
        (r"x is \boxed{2}, but y is \boxed{3}", "3"),
        (r"\boxed{1} and \boxed{}", ""),
        (r"\boxedly 7", None),
    ],
)
def test_the_last_box_counts(text, answer):
    assert boxed_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"), [("a\n#### 7 \nb", "7"), ("#### 1\n#### 2", "2"), ("####", ""), ("7", None)]
)
def test_the_line_after_the_last_marker_counts(text, answer):
    assert marked_answer(text, "####") == answer


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("<think>12</think>13", "13"),
        ("12</think>13", "13"),  # a chat template has opened it
        ("<think>12", ""),  # cut while it thought
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<think>a</think>b<think>c", ""),
        ("<THINK>12</THINK>13", "13"),
        ("<thinking>12</thinking>13", "13"),
        ("<|begin_of_thought|>12<|end_of_thought|>13", "13"),
        ("13", "13"),
        ("I <thinker> 13", "I <thinker> 13"),
    ],
)
def test_thinking_is_passed_over(text, rest):
    assert after_thinking(text) == rest


@pytest.mark.parametrize("spam", [r"\boxed{", r"\boxed{1}, ", r"\boxed 7 ", "{", "\\", "$", r"\boxed\frac{"])
@pytest.mark.timeout(60)
def test_a_box_in_spam_is_searched_in_one_pass(spam):
    boxed_answer(spam * 50_000)  # minutes where every box is searched to the end of the text
    assert boxed_answer(spam * 50_000 + r" \boxed{7}") is not None
