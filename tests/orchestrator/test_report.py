"""The page and the table of a campaign: from the data only, self-contained, escaped, drawn by a browser."""

import io
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from rich.console import Console

from controllers.quality.entropy_law import fit_entropy_law
from orchestrator.comparison import Estimate, entropy_and_reward, summarise
from orchestrator.comparison.comparison import compare
from orchestrator.report import print_table, write_page
from orchestrator.report.headline import entropy_findings, findings, headline
from orchestrator.report.settings import differing, shared
from orchestrator.report.summary_cells import number, percent, settling
from orchestrator.storage.run_data import load_campaign
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo, RunInfo, Status


class Page(HTMLParser):
    """Collects what a page refers to, its text, and the figures it carries."""

    def __init__(self, text):
        super().__init__()
        self.references, self.words, self.plots, self.tags = [], [], [], []
        self.figures, self._inside = {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self._inside = attributes.get("id") or tag
        self.references += [
            attributes[name] for name in ("src", "href", "action", "data") if name in attributes
        ]
        if "plot" in attributes.get("class", "").split():
            self.plots.append(attributes["id"])

    def handle_data(self, data):
        if self._inside == "figures":
            self.figures = json.loads(data)
            self._inside = ""
        elif self._inside not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def write(folder):
    write_page(load_campaign(folder), folder.report_path)
    return folder.report_path


def read(folder):
    return Page(write(folder).read_text(encoding="utf-8"))


def console_text(folder, width=80):
    console = Console(file=io.StringIO(), width=width)
    print_table(load_campaign(folder), console)
    return console.file.getvalue()


def summaries(folder):
    return [summarise(arm) for arm in load_campaign(folder).arms]


def comparison(folder, **named):
    return compare(load_campaign(folder), **named)


def test_the_page_refers_to_nothing_outside_itself(make_campaign):
    folder = make_campaign(seeds=(0,))
    page = read(folder)
    assert page.references
    assert all(each.startswith("#") for each in page.references)  # places on the page itself
    text = folder.report_path.read_text()
    assert "default-src 'none'" in text  # and the browser enforces it
    assert "@import" not in text.split("</style>")[0]
    assert folder.report_path.stat().st_size < 6_000_000


def test_the_settings_that_differ_are_a_table_and_one_arm_has_none(make_campaign):
    several = write(make_campaign(seeds=(0,))).read_text()
    alone = write(make_campaign(seeds=(0,), arms=("grpo",), name="alone")).read_text()
    said = "The arms do not differ in any setting."
    assert "<th>setting</th>" in several
    assert said not in several
    assert "<th>setting</th>" not in alone
    assert said in alone


def test_every_plot_has_data_and_every_figure_a_place(make_campaign):
    page = read(make_campaign())
    assert set(page.plots) == set(page.figures)
    # entropy; two loops; pass rate, held out, over k; and for each of three arms path, law, predicted change
    assert len(page.plots) == 1 + 2 + 3 + 3 * 3
    for name, figure in page.figures.items():
        fewest = 2 if name == "pass-at-k" else 6  # k = 1 and k = 8 are all that was asked for
        assert any(len(trace["x"]) >= fewest for trace in figure["data"])
        assert all(len(trace["x"]) == len(trace["y"]) for trace in figure["data"])


def test_bands_are_there_with_several_seeds_and_not_with_one(make_campaign):
    def bands(folder):
        return sum("fill" in trace for trace in read(folder).figures["entropy"]["data"])

    assert bands(make_campaign(seeds=(0, 1), name="two")) == 3
    assert bands(make_campaign(seeds=(0,), name="one")) == 0


def test_the_numbers_on_the_page_are_those_of_the_runs(make_campaign):
    folder = make_campaign()
    text = read(folder).text
    grpo, entropic, _ = summaries(folder)
    assert f"{grpo.entropy_final.mean:.3f}" in text
    assert f"{entropic.pass_at_1.mean:.3f} ± {entropic.pass_at_1.std:.3f}" in text
    assert f"{entropic.rmse.mean:.3f}" in text
    assert "never" in text  # aer saturates and does not settle


def test_what_stands_below_the_title_names_the_collapse_and_who_held(make_campaign):
    *_, sentence = headline(comparison(make_campaign()))
    assert re.fullmatch(
        r"Left alone, entropy fell from 0\.2\d to 0\.03\d nats per token. "
        r"`entropic` held it at 0\.20, within \d\.\d %\.",
        sentence,
    )


def test_findings_say_collapse_hold_and_saturation(make_campaign):
    collapse, hold, miss = entropy_findings(summaries(make_campaign()))
    assert re.match(r"`grpo` collapsed: its entropy fell from 0\.2\d+ to 0\.03\d .*\(−8\d %\)", collapse)
    assert re.match(r"`entropic` held its setpoint of 0\.200 .* within \d\.\d %", hold)
    assert re.match(r"`aer` did not hold .* its command was at a limit in \d\d %", miss)


def test_the_law_of_each_arm_is_drawn_with_its_ceiling_or_said_not_to_be_known(make_campaign):
    folder = make_campaign()
    page, arms = read(folder), load_campaign(folder).arms
    law = fit_entropy_law(*entropy_and_reward(arms[0].shown))
    assert f"ceiling {law.ceiling:.3f} ± {law.ceiling_error:.3f}" in page.text
    assert "the first 15 % predict the rest within" in page.text
    _, line = page.figures["law-0"]["data"]
    assert line["x"][0] == 1.0  # down to H = 0, where the ceiling is
    assert line["y"][0] == pytest.approx(law.ceiling, rel=1e-4)
    assert page.figures["law-0"]["layout"]["shapes"][0]["y0"] == pytest.approx(law.ceiling)
    assert law.a > 0


def test_an_arm_whose_entropy_stood_still_has_no_law(tmp_path):
    folder = CampaignFolder(tmp_path / "still")
    folder.write_info(CampaignInfo(name="still", config={"arms": [{"name": "a"}]}))
    run = folder.run("a", 0)
    run.write_info(RunInfo(campaign="still", arm="a", seed=0, method="grpo"))
    with run.writer() as writer:
        for step in range(20):
            writer.append(step, {"entropy": 0.2 + 1e-4 * (step % 3), "reward": 0.5 + 0.01 * (step % 5)})
    run.write_status(Status(status="done", iteration=20, num_iterations=20))
    assert "not identified: H moved too little" in read(folder).text


def test_predicted_changes_are_drawn_with_their_correlation(make_campaign):
    folder = make_campaign(seeds=(0, 1), arms=("grpo",))
    page, (summary,) = read(folder), summaries(folder)
    (points,) = page.figures["change-0"]["data"]
    assert len(points["x"]) == 2 * 149  # the last iteration is followed by none
    assert f"correlation {number(summary.change_correlation, 2)}" in page.text


def test_one_seed_claims_no_significance(make_campaign):
    said = findings(comparison(make_campaign(seeds=(0,))))
    assert not any(
        re.search(r"ended (above|below) \S+: held-out greedy pass rate \S+ \(95 %", each) for each in said
    )
    assert said[-1].endswith("one seed: chance cannot be ruled out.")


def test_a_campaign_that_did_not_collapse_does_not_claim_so(make_campaign):
    folder = make_campaign(arms=("entropic",))
    assert "collapsed" not in " ".join(findings(comparison(folder)))
    assert "fell from" not in " ".join(headline(comparison(folder)))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((), "–"),
        ((math.nan,), "–"),
        ((0.5,), "0.500 ± –"),
        ((0.5, 0.7), "0.600 ± 0.141"),  # |0.2| / sqrt 2
        ((0.5, 0.5), "0.500 ± 0.000"),
        ((0.5, 0.5001), "0.500 ± <0.001"),
    ],
)
def test_a_number_and_its_spread(values, text):
    assert number(Estimate(values)) == text


def test_percent_and_settling(make_campaign):
    assert percent(Estimate((0.25, 0.35))) == "30 % ± 7"
    grpo, entropic, aer = summaries(make_campaign(seeds=(0, 1)))
    assert settling(grpo) == "–"
    assert settling(aer) == "never"
    assert re.fullmatch(r"\d+ ± \d+", settling(entropic))


def test_the_table_fits_a_terminal_of_80_columns(make_campaign):
    text = console_text(make_campaign())
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for word in ("grpo", "entropic", "aer", "greedy", "pass@8", "RMSE", "never"):
        assert word in text


def test_unfinished_runs_are_said_on_both(make_campaign):
    folder = make_campaign(seeds=(0, 1))
    failed = folder.run("aer", 1)
    failed.write_status(Status(status="failed", reason="loss <nan>", iteration=12, num_iterations=150))
    expected = "aer seed 1: failed after 12 of 150 iterations (loss <nan>)"
    assert expected in read(folder).text
    assert expected in " ".join(console_text(folder).split())
    assert "1 of 2" in console_text(folder)


def test_stopped_runs_are_said_to_count(make_campaign):
    folder = make_campaign(seeds=(0, 1))
    stopped = Status(status="stopped", reason="collapse: it <fell>", iteration=40, num_iterations=150)
    folder.run("aer", 1).write_status(stopped)
    text = read(folder).text
    assert "1 stopped by a guardrail" in text
    assert "They count with the last value that they reached" in text
    assert "Not every run has finished" not in text
    assert "aer seed 1: stopped after 40 of 150 iterations (collapse: it <fell>)" in text


def test_the_band_of_two_seeds_does_not_hide_the_curves(make_campaign):
    figures = read(make_campaign(seeds=(0, 1))).figures
    for name in ("entropy", "held-out", "pass-rate"):
        curves = [trace["y"] for trace in figures[name]["data"] if "fill" not in trace]
        span = max(map(max, curves)) - min(map(min, curves))
        low, high = figures[name]["layout"]["yaxis"]["range"]
        assert span < high - low < 2.5 * span


def test_hostile_strings_are_shown_not_run(make_campaign):
    attack = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"
    folder = make_campaign(
        seeds=(0,), description=attack, source=attack, versions={attack: attack}, git_commit="[bold]x[/bold]"
    )
    run = folder.run("aer", 0)
    info = run.read_info()
    run.write_info(
        RunInfo(
            campaign="quickstart", arm=attack, seed=0, method=attack, config=info.config | {attack: attack}
        )
    )
    run.write_status(Status(status="done", iteration=150, num_iterations=150, reason=attack))
    page = read(folder)
    assert "img" not in page.tags
    assert page.tags.count("script") == 5
    assert attack in page.text
    assert "[bold]" in page.text
    assert attack[:20] in " ".join(console_text(folder, width=400).split())


def test_missing_data_is_a_sentence_not_an_empty_plot(tmp_path):
    folder = CampaignFolder(tmp_path / "bare")
    folder.write_info(CampaignInfo(name="bare", config={"arms": [{"name": "a"}]}))
    page = read(folder)
    assert page.plots == []
    assert "No run of this campaign has finished yet." in page.text
    run = folder.run("a", 0)
    run.write_info(RunInfo(campaign="bare", arm="a", seed=0, method="grpo"))
    page = read(folder)
    for sentence in (
        "No run has measured its entropy yet.",
        "No arm of this campaign has a feedback loop.",
        "No run has recorded a pass rate.",
        "No run has been evaluated on held-out problems.",
        "No run has recorded reward and entropy.",
        "No run has recorded predicted changes of entropy.",
        "a seed 0: pending after 0 of 0 iterations",
    ):
        assert sentence in page.text
    assert "pending" in console_text(folder)


def test_settings_that_differ_are_set_apart_from_those_shared(make_campaign):
    campaign = load_campaign(make_campaign(seeds=(0,)))
    different = dict(differing(campaign))
    assert different["loops.entropy.actuator.kind"] == ["–", "sign_weights", "bonus"]
    assert different["loops.entropy.limits"] == ["–", "[-1.0, 1.0]", "[0.0, 0.04]"]
    assert "loops" not in different
    assert ("learner.objective.kind", "clipped_surrogate") in shared(campaign)


def test_the_same_data_give_the_same_page(make_campaign):
    folder = make_campaign(seeds=(0,))
    first = write(folder).read_bytes()
    assert write(folder).read_bytes() == first


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium (apt-get install chromium)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_every_plot_without_a_complaint(make_campaign, tmp_path, scheme):
    folder = make_campaign(seeds=(0, 1))
    path = write(folder)
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--virtual-time-budget=8000",
        "--enable-logging=stderr",
        "--dump-dom",
    ]
    colours = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    command = ["chromium", *flags, colours, f"--user-data-dir={tmp_path}/profile", path.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [line for line in result.stderr.splitlines() if "CONSOLE" in line] == []
    drawn = re.findall(r'<div class="plot[^"]*js-plotly-plot"', result.stdout)
    assert len(drawn) == len(Page(path.read_text()).plots)
    assert "@arm" not in "".join(re.findall(r'style="[^"]*"', result.stdout))
    ink = {"light": "rgb(28, 27, 25)", "dark": "rgb(233, 230, 223)"}[scheme]
    assert ink in result.stdout
