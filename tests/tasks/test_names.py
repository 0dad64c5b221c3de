"""Names are escaped so that they can be read back, refused where something would take two for one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.kinds.arithmetic import Arithmetic
from tasks.kinds.jsonl import Jsonl
from tasks.kinds.math_word import MathWord
from tasks.kinds.mixture import Member, Mixture
from tasks.names import escaped, look_alikes, unescaped

HARD = st.text(alphabet=st.sampled_from("a.:/@_ -é4{"), max_size=8)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("add2", "add2"),
        ("sums.add2/a b_c-d", "sums.add2/a b_c-d"),
        ("a@b", "a:40:b"),
        ("a_b", "a_b"),
        ("Counting & Probability", "Counting :26: Probability"),
        ("a//c", "a/:2f:c"),
        ("../x", ":2e::2e:/x"),
        ("tail/", "tail:2f:"),
        ("/head", ":2f:head"),
        ("a/./b", "a/:2e:/b"),
        ("a.b/..c", "a.b/..c"),
        ("a:40:b", "a:3a:40:3a:b"),
        ("Zahlenrätsel", "Zahlenrätsel"),
        ("line\n", "line:a:"),
    ],
)
def test_what_is_not_taken_is_escaped(name, key):
    assert escaped(name) == key
    assert unescaped(key) == name


@given(st.text() | HARD)
def test_every_name_is_read_back(name):
    assert unescaped(escaped(name)) == name


@given(HARD, HARD)
def test_no_two_names_become_one(one, other):
    assert (escaped(one) == escaped(other)) == (one == other)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["add", "sub", "add"], None),
        (["add", "sub", "Add"], ("add", "Add")),
        (["straße", "STRASSE"], ("straße", "STRASSE")),
        (["café", "cafe"], ("café", "cafe")),
        (["caf\u00e9", "cafe\u0301"], ("caf\u00e9", "cafe\u0301")),
        (["add", "add "], ("add", "add ")),
        (["a b", "ab"], None),
    ],
)
def test_look_alikes(names, found):
    assert look_alikes(names) == found


def rows_file(path, domains):
    rows = [
        {"prompt": f"{domain}{n}?", "question": f"{domain}{n}?", "answer": "1", "kind": domain}
        for domain in domains
        for n in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.mark.parametrize("task", [Jsonl, MathWord])
def test_domains_that_would_merge_are_refused_when_the_rows_are_read(tmp_path, task):
    path = rows_file(tmp_path / "rows.jsonl", ["Add", "sub", "add"])
    with pytest.raises(
        ValueError, match=r"rows\.jsonl: has the domains 'Add' and 'add', which .*; write both alike"
    ):
        task(path=path, domain_key="kind").problem("train", 0, 0)


@pytest.mark.parametrize("task", [Jsonl, MathWord])
def test_they_are_refused_across_the_two_sides_too(tmp_path, task):
    train = rows_file(tmp_path / "rows.jsonl", ["add"])
    held_out = rows_file(tmp_path / "held_out.jsonl", ["ADD"])
    with pytest.raises(ValueError, match="the domains 'add' and 'ADD'"):
        task(path=train, held_out_path=held_out, domain_key="kind").problem("train", 0, 0)


@pytest.mark.parametrize("task", [Jsonl, MathWord])
@pytest.mark.parametrize(("domain", "fits"), [("d" * 120, True), ("d" * 121, False), ("&" * 31, False)])
def test_a_domain_has_to_fit_into_the_name_of_a_metric(tmp_path, task, domain, fits):
    task = task(path=rows_file(tmp_path / "rows.jsonl", [domain]), domain_key="kind")
    if fits:
        assert task.problem("train", 0, 0).domain == domain
    else:
        with pytest.raises(ValueError, match="line 1: 'kind' must be the name of a domain, of at most 120"):
            task.problem("train", 0, 0)


def test_members_of_a_mixture_have_names_that_differ_and_fit():
    def member(name):
        return Member(task=Arithmetic(), name=name)

    with pytest.raises(ValueError, match="differ by more than case, got 'sums' and 'Sums'"):
        Mixture(tasks=(member("sums"), member("Sums")))
    assert member("m" * 60).label == "m" * 60
    with pytest.raises(ValueError, match="at most 60 characters, got 61; shorten it"):
        member("m" * 61)
