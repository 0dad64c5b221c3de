import pytest

from tasks.extraction import boxed_answer, marked_answer, matched_answer, normalised, tagged_answer


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
        (r"\boxed 42", None),
    ],
)
def test_the_last_box_counts(text, answer):
    assert boxed_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"), [("a\n#### 7 \nb", "7"), ("#### 1\n#### 2", "2"), ("####", ""), ("7", None)]
)
def test_the_line_after_the_last_marker_counts(text, answer):
    assert marked_answer(text, "####") == answer
