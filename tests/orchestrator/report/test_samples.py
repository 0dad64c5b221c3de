"""The browser of samples on the page: what it shows of which run, and that texts stay texts."""

import json
import re
import shutil
import time
from math import inf, nan

import pytest

from orchestrator.report import samples as browser_of_samples
from orchestrator.report import write_page
from orchestrator.report.rendering import json_for_script
from orchestrator.report.samples import samples_of, samples_section
from orchestrator.storage.run_data import load_campaign
from orchestrator.storage.samples import sample_path, write_samples
from tests.orchestrator.storage.test_samples import sample

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">'\u202e\ud800"


@pytest.fixture
def folder(make_campaign):
    """Two arms with samples of two iterations; the first seed of the second arm has none."""
    made = make_campaign(seeds=(3, 4), arms=("grpo", "aer"))
    for arm, seed in (("grpo", 3), ("grpo", 4), ("aer", 4)):
        for iteration in (0, 149):
            several = [
                sample(iteration=iteration, prompt=HOSTILE, turns=[HOSTILE], tokens=[HOSTILE, "x"]),
                sample(iteration=iteration, domain="mul2", right=False, reward=0.0, turns=["a", "b", "c"], tokens=["a", "b", "c"],
                       token_turns=[1, 0, 2], entropies=[0.5, None, 1.0]),
            ]  # fmt: skip
            write_samples(made.run(arm, seed).samples_path, iteration, several)
    return made


def test_the_page_has_the_first_seed_with_samples_of_each_arm(folder):
    found = samples_of(load_campaign(folder))
    assert [(each["arm"], each["seed"], each["iteration"]) for each in found] == [
        (arm, seed, iteration) for arm, seed in ((0, 3), (1, 4)) for iteration in (0, 0, 149, 149)
    ]
    assert found[1] | {"answer": ""} == {
        "arm": 0, "seed": 3, "iteration": 0, "domain": "mul2", "prompt": "1+2=", "answer": "", "turns": ["a", "b", "c"],
        "reward": 0.0, "right": False, "length": 2, "finished": True, "tokens": ["a", "b", "c"], "of": [1, 0, 2],
        "entropies": [0.5, None, 1.0],
    }  # fmt: skip


def test_no_text_of_a_sample_is_html(folder):
    campaign = load_campaign(folder)
    data = json_for_script(samples_of(campaign))
    assert "<" not in data
    assert json.loads(data)[0]["prompt"] == HOSTILE.replace("\ud800", "\ufffd")
    write_page(campaign, folder.report_path)
    page = folder.report_path.read_text(encoding="utf-8")
    assert page.count("<script") == 5
    assert "<img" not in page
    assert '<option value="mul2">mul2</option>' in page


def test_a_domain_is_escaped_in_the_choices(folder):
    campaign = load_campaign(folder)
    entries = [each | {"domain": '"><b>'} for each in samples_of(campaign)]
    assert "<b>" not in samples_section(entries, campaign)


def test_of_many_samples_fewer_iterations_are_on_the_page_the_last_among_them(folder, monkeypatch):
    path = folder.run("grpo", 3).samples_path
    for iteration in range(1, 149):
        write_samples(path, iteration, [sample(iteration=iteration, turns=["x" * 1000])])
    monkeypatch.setattr(browser_of_samples, "MOST_CHARACTERS", 50_000)
    found = samples_of(load_campaign(folder))
    iterations = sorted({each["iteration"] for each in found if each["arm"] == 0})
    assert 5 < len(iterations) < 40
    assert (iterations[0], iterations[-1]) == (0, 149)
    assert len(json_for_script(found)) <= 50_000


def test_arms_have_the_same_iterations_however_much_each_says(make_campaign, monkeypatch):
    made = make_campaign(seeds=(0,), arms=("grpo", "aer"))
    for arm, length in (("grpo", 2000), ("aer", 10)):
        for iteration in range(40):
            text = sample(iteration=iteration, turns=["x" * length])
            write_samples(made.run(arm, 0).samples_path, iteration, [text])
    monkeypatch.setattr(browser_of_samples, "MOST_CHARACTERS", 50_000)
    found = samples_of(load_campaign(made))
    of_arms = [[each["iteration"] for each in found if each["arm"] == arm] for arm in (0, 1)]
    assert of_arms[0] == of_arms[1]
    assert 15 < len(of_arms[0]) < 25


@pytest.mark.parametrize("length", [10, 9000])
def test_where_few_iterations_are_too_many_each_has_its_first_samples(make_campaign, monkeypatch, length):
    """The page keeps its size whatever a campaign says of the number of its samples."""
    made = make_campaign(seeds=(0,), arms=("grpo", "aer"))
    for arm in ("grpo", "aer"):
        for iteration in range(0, 60, 5):
            several = [
                sample(iteration=iteration, prompt=f"{number}", turns=["x" * length]) for number in range(30)
            ]
            write_samples(made.run(arm, 0).samples_path, iteration, several)
    monkeypatch.setattr(browser_of_samples, "MOST_CHARACTERS", 30_000)
    found = samples_of(load_campaign(made))
    assert 30_000 / 2 < len(json_for_script(found)) <= 30_000
    groups = {}
    for each in found:
        groups.setdefault((each["arm"], each["iteration"]), []).append(each["prompt"])
    assert all(prompts == [str(number) for number in range(len(prompts))] for prompts in groups.values())
    assert {(0, 55), (1, 55)} <= groups.keys()
    assert len(groups) == (20 if length == 10 else 3)


def test_without_samples_there_is_no_section_and_a_damaged_file_loses_its_own(make_campaign, folder):
    campaign = load_campaign(make_campaign(seeds=(0,), name="none"))
    assert samples_section(samples_of(campaign), campaign) == ""
    sample_path(folder.run("grpo", 3).samples_path, 149).write_bytes(b"x")
    found = samples_of(load_campaign(folder))
    assert {each["iteration"] for each in found if each["arm"] == 0} == {0}


def test_numbers_that_are_not_finite_are_shown_as_none(folder):
    path = folder.run("grpo", 3).samples_path
    not_finite = [sample(iteration=0, reward=each, entropies=[0.5, each]) for each in (inf, -inf, nan)]
    write_samples(path, 0, not_finite)
    found = [each for each in samples_of(load_campaign(folder)) if each["arm"] == each["iteration"] == 0]
    assert [(each["reward"], each["entropies"]) for each in found] == [(None, [0.5, None])] * 3
    write_page(load_campaign(folder), folder.report_path)  # its JSON has no word for them


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium (apt-get install chromium)")
def test_a_reader_filters_samples_and_sees_tokens_in_the_shade_of_their_entropy(browser, folder):
    write_page(load_campaign(folder), folder.report_path)
    session = browser.open(folder.report_path.as_uri())
    browser.wait(session, "document.readyState === 'complete'")
    browser.wait(session, "document.querySelectorAll('.sample').length")

    def see(script):
        return browser.evaluate(session, script)

    def choose(key, value):
        see(f"byId('sample-{key}').value = '{value}'; byId('sample-{key}').dispatchEvent(new Event('input'))")
        time.sleep(0.05)
        return see("all('.sample').length")

    assert see("byId('sample-iteration').textContent") == "149"
    assert see("all('.sample').length") == 4  # of both arms
    assert "taken" not in see("document.title")
    assert see("all('.sample img, .sample script').length") == 0
    assert see("all('.sample .prompt')[0].textContent") == HOSTILE.replace("\ud800", "\ufffd")
    assert see("all('.sample')[1].querySelectorAll('.turn').length") == 3
    assert see("all('.sample')[1].querySelector('.reply').textContent") == "b"
    shades = see(
        "[...all('.sample')[1].querySelectorAll('.turn span')].map((t) => t.style.getPropertyValue('--share'))"
    )
    assert shades == ["43%", "", "85%"]  # half of the highest, none in a reply, the highest
    assert choose("right", "false") == 2
    assert choose("arm", "1") == 1
    assert choose("domain", "add2") == 0
    assert choose("domain", "mul2") == 1
    assert re.fullmatch("1 of 1 samples", see("byId('sample-count').textContent"))
    assert choose("time", "0") == 1
    assert see("byId('sample-iteration').textContent") == "0"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium (apt-get install chromium)")
def test_a_phone_scrolls_tables_and_nothing_else_and_the_curves_are_on_the_first_screen(browser, folder):
    write_page(load_campaign(folder), folder.report_path)
    session = browser.open("about:blank")
    for width, height in ((390, 844), (1280, 800)):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 1000}
        browser.call("Emulation.setDeviceMetricsOverride", session, **size)
        browser.call("Page.navigate", session, url=folder.report_path.as_uri())
        browser.wait(
            session, "document.readyState === 'complete' && document.querySelectorAll('.sample').length"
        )
        assert browser.evaluate(session, "document.documentElement.scrollWidth") <= width
        tables = browser.evaluate(
            session,
            "[...document.querySelectorAll('main table')].filter((t) => !t.closest('.scroll')).length",
        )
        assert tables == 0
        bottom = browser.evaluate(
            session, "document.getElementById('entropy').getBoundingClientRect().bottom"
        )
        assert bottom <= height
    learning = browser.evaluate(session, "document.getElementById('held-out').getBoundingClientRect().bottom")
    assert learning <= 800
