"""What guardrails found is on the page and on the terminal, with its outcome."""

import io
from dataclasses import replace

from rich.console import Console

from orchestrator.report.guardrails import complaints, guardrail_lines, guardrail_section
from orchestrator.report.html import render
from orchestrator.report.terminal import print_table
from orchestrator.storage.guardrail_files import Event, Rollback, append_event, write_rollbacks
from orchestrator.storage.run_data import load_campaign

EXPLODED = Event(
    iteration=30, detector="explosion", action="rollback", reason="explosion: <entropy> was above 0.7"
)
CUT = Event(iteration=40, detector="truncation", reason="truncation: share was above 0.5", attempt=1)


def fired(make_campaign):
    folder = make_campaign(seeds=(0,), arms=("grpo", "aer"))
    run = folder.run("aer", 0)
    for event in (EXPLODED, CUT):
        append_event(run.events_path, event)
    limits = {"entropy": (0.0, 0.02)}
    write_rollbacks(
        run.rollbacks_path,
        [Rollback(iteration=30, to=20, detector="explosion", reason=EXPLODED.reason, limits=limits)],
    )
    return load_campaign(folder)


def test_the_page_has_a_section_with_reason_and_outcome(make_campaign):
    campaign = fired(make_campaign)
    section = guardrail_section(campaign)
    assert "<td>&lt;entropy&gt; was above 0.7</td>" in section
    assert "In 1 of 2 runs: 1 rollback, 1 warning." in section
    assert "rolled back to iteration 20; limits of entropy to [0, 0.02]" in section
    assert "a warning" in section
    assert section in render(campaign)


def test_the_gravest_come_first_and_what_trips_over_and_over_is_one_row(make_campaign):
    folder = make_campaign(seeds=(0,), arms=("grpo",))
    run = folder.run("grpo", 0)
    for iteration in (10, 17, 23):
        append_event(run.events_path, replace(CUT, iteration=iteration, attempt=0))
    append_event(run.events_path, replace(EXPLODED, action="stop"))
    campaign = load_campaign(folder)
    section = guardrail_section(campaign)
    assert section.count("<tr>") == 3
    assert section.index("state stop") < section.index("state warn")
    assert "<td>10 … 23, 3 times</td>" in section
    assert [line.partition("(")[2] for line in guardrail_lines(campaign)] == [
        "iteration 10, and 2 times more); a warning",
        "iteration 30); the run was stopped",
    ]


def test_the_first_screen_has_what_changed_runs_in_full_and_counts_warnings(make_campaign):
    folder = make_campaign(seeds=(0, 1, 2), arms=("grpo", "aer"))
    for arm, seed in (("grpo", 0), ("grpo", 2), ("aer", 1)):
        for iteration in (10, 17):
            append_event(folder.run(arm, seed).events_path, replace(CUT, iteration=iteration, attempt=0))
    append_event(folder.run("grpo", 0).events_path, replace(EXPLODED, action="stop"))
    campaign = load_campaign(folder)
    (stopped,) = (line for line in guardrail_lines(campaign) if "stopped" in line)
    assert complaints(campaign) == [
        stopped,
        f"grpo: {CUT.detector} in 2 of 3 runs",
        f"aer: {CUT.detector} in 1 of 3 runs",
    ]


def test_a_rollback_too_many_is_a_stop(make_campaign):
    folder = make_campaign(seeds=(0,), arms=("grpo",))
    append_event(folder.run("grpo", 0).events_path, EXPLODED)
    (line,) = guardrail_lines(load_campaign(folder))
    assert line.startswith(
        "grpo seed 0: explosion: <entropy> was above 0.7 (iteration 30); the run was stopped"
    )


def test_a_stop_says_whether_the_run_was_taken_up_again(make_campaign):
    folder = make_campaign(seeds=(0,), arms=("grpo",))
    run = folder.run("grpo", 0)
    stopped = replace(EXPLODED, action="stop")
    append_event(run.events_path, stopped)
    (line,) = guardrail_lines(load_campaign(folder))
    assert line.endswith("(iteration 30); the run was stopped")
    rollback = Rollback(iteration=30, to=20, detector="explosion", reason=stopped.reason, requested=True)
    write_rollbacks(run.rollbacks_path, [rollback])
    (line,) = guardrail_lines(load_campaign(folder))
    assert line.endswith(
        "the run was stopped, then continued from iteration 20; no limit to change, other responses drawn"
    )


def test_where_nothing_was_found_there_is_no_section(make_campaign):
    campaign = load_campaign(make_campaign(seeds=(0,), arms=("grpo",)))
    assert guardrail_section(campaign) == ""
    assert guardrail_lines(campaign) == []


def test_the_terminal_says_it(make_campaign):
    out = io.StringIO()
    print_table(fired(make_campaign), Console(file=out, width=200))
    assert (
        "guardrail: aer seed 0: explosion: <entropy> was above 0.7 (iteration 30); rolled back"
        in out.getvalue()
    )


def test_what_a_law_says_of_itself_is_a_row_and_a_line(make_campaign):
    folder = make_campaign(seeds=(0,), arms=("aer",))
    sentence = "the loop 'entropy' says: readings are too noisy: about 3 times as many tokens an iteration are needed"
    append_event(
        folder.run("aer", 0).events_path,
        Event(iteration=19, detector="noise", subject="entropy", reason=f"noise: {sentence}"),
    )
    campaign = load_campaign(folder)
    section = guardrail_section(campaign)
    assert "<td>noise</td>" in section
    assert "about 3 times as many tokens an iteration are needed</td>" in section
    assert guardrail_lines(campaign) == [f"aer seed 0: noise: {sentence} (iteration 19); a warning"]
    console = Console(file=io.StringIO(), width=200)
    print_table(campaign, console)
    assert "about 3 times as many tokens" in console.file.getvalue()
