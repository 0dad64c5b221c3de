from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.answers.propositions import MAX_DEPTH, MAX_LENGTH, is_variable, truth_table

NAMES = ("P", "Q", "R")


def cases():
    """The cases in the order of the bits: the first name changes in every one."""
    return [dict(zip(NAMES, reversed(values), strict=True)) for values in product((False, True), repeat=3)]


def table(holds):
    return sum(1 << place for place, case in enumerate(cases()) if holds(**case))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("P", lambda P, Q, R: P),
        ("R", lambda P, Q, R: R),
        ("¬P", lambda P, Q, R: not P),
        ("¬¬P", lambda P, Q, R: P),
        ("P ∧ Q", lambda P, Q, R: P and Q),
        ("P∨Q", lambda P, Q, R: P or Q),
        ("P → Q", lambda P, Q, R: not P or Q),
        ("P ↔ Q", lambda P, Q, R: P == Q),
        ("P ∨ Q ∧ R", lambda P, Q, R: P or (Q and R)),
        ("(P ∨ Q) ∧ R", lambda P, Q, R: (P or Q) and R),
        ("¬P ∧ Q", lambda P, Q, R: not P and Q),
        ("¬(P ∧ Q)", lambda P, Q, R: not (P and Q)),
        ("P ∧ Q → R", lambda P, Q, R: not (P and Q) or R),
        ("P → Q ↔ R", lambda P, Q, R: (not P or Q) == R),
        ("P → Q → R", lambda P, Q, R: not (not P or Q) or R),  # from the left, as the library has it
        ("((P))", lambda P, Q, R: P),
    ],
)
def test_hand_worked_tables(text, holds):
    assert truth_table(text, NAMES) == table(holds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs one of the names, got 'its end'"),
        ("P ∧", "needs one of the names, got 'its end'"),
        ("S", "needs one of the names, got 'S'"),
        ("P ∨ x", "needs one of the names, got 'x'"),
        ("P Q", "must end, got 'Q'"),
        ("(P", "must close its parentheses"),
        ("P)", r"must end, got '\)'"),
        ("P -> Q", "must end, got '-'"),
        ("True", "needs one of the names, got 'T'"),
        ("P" + "∧P" * 400, f"at most {MAX_LENGTH} characters, got 801"),
        ("(" * 40 + "P" + ")" * 40, f"at most {MAX_DEPTH} parentheses deep"),
    ],
)
def test_what_is_no_statement_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        truth_table(text, NAMES)


def test_names_are_limited():
    with pytest.raises(ValueError, match="at most 20 names, got 26"):
        truth_table("P", [chr(ord("A") + i) for i in range(26)])


def test_a_bare_letter_is_known_in_its_parentheses():
    assert [is_variable(text) for text in ("P", " (P) ", "((P))", "¬P", "P∧P")] == [
        True,
        True,
        True,
        False,
        False,
    ]


TREES = st.recursive(
    st.sampled_from(NAMES),
    lambda children: st.one_of(st.tuples(children), st.tuples(children, st.sampled_from("∧∨→↔"), children)),
    max_leaves=8,
)


def text_of(tree):
    if isinstance(tree, str):
        return tree
    return f"¬{text_of(tree[0])}" if len(tree) == 1 else f"({text_of(tree[0])} {tree[1]} {text_of(tree[2])})"


@given(tree=TREES)
def test_the_library_s_own_reader_agrees(tree):
    from reasoning_gym.logic.propositional_logic import Expression

    theirs = Expression.from_string(text_of(tree))
    assert truth_table(text_of(tree), NAMES) == table(lambda **case: theirs.evaluate(case))
