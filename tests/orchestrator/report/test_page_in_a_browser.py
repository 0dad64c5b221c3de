"""The page at work in headless Chromium: a script at its end uses it as a reader does, and says what it saw."""

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape

import pytest

from orchestrator.report import write_page
from orchestrator.storage.run_data import load_campaign

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium (apt-get install chromium)"),
]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
    "--enable-logging=stderr",
    "--window-size=1300,900",
]

READER = """<script>
"use strict";
const saw = {};
const $ = (selector) => document.querySelector(selector);
const $$ = (selector) => [...document.querySelectorAll(selector)];
const drawnIn = (id) => document.getElementById(id).data.filter((t) => t.fill !== "toself").map((t) => t.name);
const order = (table) => $$(`#table-${table} tbody tr`).map((row) => row.cells[0].textContent);
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const type = (text) => { $("#find").value = text; $("#find").dispatchEvent(new Event("input")); };
try { (function () { %s })(); } catch (error) { saw.error = String(error); }
document.body.append(Object.assign(document.createElement("pre"), { id: "saw", textContent: JSON.stringify(saw) }));
</script>"""


@pytest.fixture
def read(make_campaign, tmp_path):
    """`read("saw.x = …", arms=…)` uses a page by a script and gives what it saw, and the page after that."""

    def use(script, scheme="light", folder=None, **campaign):
        folder = folder or make_campaign(**campaign)
        path = tmp_path / "page.html"
        write_page(load_campaign(folder), path)
        page = path.read_text(encoding="utf-8")
        path.write_text(page.replace("</body>", READER % script + "</body>"), encoding="utf-8")
        colours = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
        command = [
            "chromium",
            *FLAGS,
            colours,
            "--dump-dom",
            f"--user-data-dir={tmp_path}/profile",
            path.as_uri(),
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
        assert [line for line in result.stderr.splitlines() if "CONSOLE" in line] == []
        saw = json.loads(unescape(re.search(r'<pre id="saw">(.*?)</pre>', result.stdout, re.DOTALL)[1]))
        assert "error" not in saw, saw["error"]
        return saw

    return use


def test_every_plot_has_data_and_is_drawn(read):
    saw = read(
        """
        saw.places = $$(".plot").length;
        saw.drawn = $$(".plot.js-plotly-plot").length;
        saw.empty = $$(".plot").filter((p) => !p.data.some((t) => t.x.length > 0 && t.y.length === t.x.length)).map((p) => p.id);
        saw.unpainted = $$(".plot").filter((p) => /"@\\w/.test(JSON.stringify([p.data, p.layout]))).map((p) => p.id);
        saw.paths = $$(".plot").filter((p) => !p.querySelector(".scatterlayer path")).map((p) => p.id);
        """,
        seeds=(0, 1),
    )
    assert saw["places"] == saw["drawn"] > 10
    assert saw["empty"] == saw["paths"] == []
    assert saw["unpainted"] == []  # every colour is the page's own


def test_an_arm_is_hidden_by_its_chip_and_by_the_search(read):
    saw = read(
        """
        const chip = $('[data-toggle="2"]');
        saw.before = drawnIn("entropy");
        chip.focus(); saw.focus = document.activeElement === chip; chip.click();
        saw.pressed = chip.getAttribute("aria-pressed");
        saw.without = drawnIn("entropy");
        saw.figures = $$("figure[data-arm='2']").map((f) => f.hidden);
        saw.dimmed = $$("tr.off").length;
        saw.count = $("#count").textContent;
        type("ENTROP");
        saw.found = drawnIn("pass-rate");
        saw.rows = $$("#table-summary tbody tr:not([hidden])").length;
        type("");
        $("#all").click(); saw.all = drawnIn("entropy").length;
        $("#none").click(); saw.none = drawnIn("entropy").length; saw.nothing = $("#count").textContent;
        """,
        seeds=(0, 1),
    )
    assert saw["focus"]
    assert "aer" in saw["before"]
    assert "aer" not in saw["without"]
    assert saw["pressed"] == "false"
    assert set(saw["figures"]) == {True}
    assert saw["dimmed"] >= 3
    assert saw["count"] == "2 of 3 arms drawn"
    assert saw["found"] == ["entropic"]
    assert saw["rows"] == 1
    assert saw["all"] == len(saw["before"])
    assert saw["none"] == 0
    assert saw["nothing"] == "0 of 3 arms drawn"


def test_tables_sort_by_a_column_and_all_by_the_order(read):
    saw = read(
        """
        const head = (title) => $$("#table-summary th").find((th) => th.textContent === title);
        saw.given = order("summary");
        head("final entropy").querySelector("button").click();
        saw.up = order("summary"); saw.sort = head("final entropy").getAttribute("aria-sort");
        head("final entropy").querySelector("button").click();
        saw.down = order("summary");
        head("RMSE").querySelector("button").click();
        saw.unknown = order("summary").at(-1);
        $("#order").value = "name"; $("#order").dispatchEvent(new Event("change"));
        saw.named = [order("summary"), order("statistics")];
        saw.laws = $$("[id^=law-]").map((p) => p.id);
        """,
        seeds=(0, 1),
    )
    assert saw["given"] == ["grpo", "entropic", "aer"]
    assert saw["up"] == ["grpo", "aer", "entropic"]
    assert saw["sort"] == "ascending"
    assert saw["down"] == ["entropic", "aer", "grpo"]
    assert saw["unknown"] == "grpo"  # which tracks nothing
    assert saw["named"] == [["aer", "entropic", "grpo"]] * 2
    assert saw["laws"] == ["law-2", "law-1", "law-0"]


@pytest.fixture
def live(make_campaign, tmp_path, browser):
    """A page in real time, with its first plot drawn."""
    path = tmp_path / "page.html"
    write_page(load_campaign(make_campaign(seeds=(0, 1))), path)
    page = browser.open(path.as_uri())
    browser.wait(page, "!!document.querySelector('#entropy .scatterlayer path')")
    return page


PLACE_OF_A_CURVE = """(() => {
    const plot = document.getElementById("entropy");
    plot.scrollIntoView({ block: "center", behavior: "instant" });
    const curve = plot.data.find((trace) => trace.name === "aer" && trace.fill !== "toself");
    const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
    return [box.left + xaxis._offset + xaxis.d2p(curve.x[75]), box.top + yaxis._offset + yaxis.d2p(curve.y[75])];
})()"""


def test_a_curve_that_the_mouse_clicks_shows_its_settings_and_its_difference_to_another(browser, live):
    browser.click(live, *browser.evaluate(live, PLACE_OF_A_CURVE))
    browser.wait(live, "!document.querySelector('#panel').hidden")
    saw = browser.evaluate(
        live,
        """(() => {
        const saw = {}, panel = document.querySelector("#panel"), press = (key) =>
            document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        saw.title = panel.querySelector("h2").textContent;
        saw.focus = document.activeElement === panel;
        saw.toGrpo = panel.querySelector("#difference").textContent;
        panel.querySelector("#other").value = "1"; panel.querySelector("#other").dispatchEvent(new Event("change"));
        saw.toEntropic = [...panel.querySelectorAll("#difference tbody tr")].map((row) => [...row.cells].map((c) => c.textContent));
        saw.settings = panel.querySelector("details").textContent;
        press("Escape"); saw.shut = panel.hidden;
        const button = document.querySelector("#table-summary [data-open='1']");
        button.focus(); button.click(); saw.byName = panel.querySelector("h2").textContent;
        press("Escape"); saw.back = document.activeElement === button;
        return saw;
        })()""",
    )
    assert saw["focus"]
    assert saw["title"].startswith("aer")
    assert "loops.entropy.actuator.kind" in saw["toGrpo"]
    assert ["loops.entropy.actuator.kind", "bonus", "sign_weights"] in saw["toEntropic"]
    assert ["loops.entropy.law.kp", "1.0", "1.0"] not in saw["toEntropic"]  # alike
    assert "learner.learning_rate" in saw["settings"]
    assert saw["shut"]
    assert saw["byName"].startswith("entropic")
    assert saw["back"]


def test_on_paper_every_table_and_plot_is_there_and_none_is_cut_off(browser, live):
    browser.evaluate(
        live,
        """matchMedia("print").addEventListener("change", (event) => {
            if (!event.matches) return;
            const seen = (node) => node.getBoundingClientRect().height > 0;
            window.saw = {
                paper: document.documentElement.clientWidth,
                ends: [...document.querySelectorAll("main *")].filter(seen).map((node) => node.getBoundingClientRect().right),
                tables: [...document.querySelectorAll("table[id], table.runs")].map((table) => [table.id, table.rows.length, seen(table)]),
                plots: [...document.querySelectorAll(".plot")].map((plot) => seen(plot) && !!plot.querySelector(".scatterlayer path")),
                toolbar: seen(document.querySelector(".toolbar")),
            };
        })""",
    )
    answer = browser.call("Page.printToPDF", live, preferCSSPageSize=True)
    pdf, saw = base64.b64decode(answer["data"]), browser.evaluate(live, "window.saw")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 3
    assert 700 < saw["paper"] < 760  # 21.6 cm less two margins of 1 cm, at 96 dots an inch
    assert max(saw["ends"]) <= saw["paper"]
    assert {"table-summary", "table-statistics", "table-setpoint_quality"} <= {
        name for name, *_ in saw["tables"]
    }
    assert all(num_rows >= 3 and seen for _, num_rows, seen in saw["tables"])
    assert len(saw["plots"]) > 10
    assert all(saw["plots"])
    assert not saw["toolbar"]


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_light_and_dark_and_always_light_on_paper(read, scheme, other):
    saw = read(
        """
        const ink = () => document.getElementById("entropy").layout.font.color;
        const paper = () => getComputedStyle(document.body).backgroundColor;
        saw.first = [ink(), paper()];
        $("#theme").click(); saw.then = [ink(), paper()];
        dispatchEvent(new Event("beforeprint")); saw.printed = ink();
        dispatchEvent(new Event("afterprint")); saw.after = [ink(), paper()];
        """,
        scheme,
        seeds=(0,),
        arms=("grpo",),
    )
    looks = {
        "light": ["rgba(28,27,25,1)", "rgb(253, 252, 249)"],
        "dark": ["rgba(233,230,223,1)", "rgb(20, 21, 26)"],
    }
    assert saw["first"] == looks[scheme]
    assert saw["then"] == saw["after"] == looks[other]
    assert saw["printed"] == looks["light"][0]


def test_everything_that_does_something_is_reached_by_the_keyboard(read):
    saw = read(
        """
        const reached = (node) => { node.focus(); return document.activeElement === node; };
        const doing = $$("button, input, select, summary").filter((node) => !node.closest("[hidden]"));
        saw.unreached = doing.filter((node) => !reached(node)).map((node) => node.outerHTML.slice(0, 80));
        saw.nameless = doing.filter((n) => !(n.textContent.trim() || n.closest("label") || n.getAttribute("aria-label"))).length;
        saw.num = doing.length;
        """,
        seeds=(0,),
    )
    assert saw["unreached"] == []
    assert saw["nameless"] == 0
    assert saw["num"] > 30


MANY = [f"arm {index:02d}" for index in range(30)]


def test_many_arms_begin_with_the_baseline_and_the_best_and_draw_as_they_are_needed(
    tmp_path, make_campaign, read
):
    folder = make_campaign(
        seeds=(0,), arms=("grpo",), config={"arms": [{"name": name} for name in ("grpo", *MANY)]}
    )
    for index, name in enumerate(MANY):
        shutil.copytree(folder.path / "grpo", folder.path / name)
        run = folder.run(name, 0)
        run.write_info(
            replace(run.read_info(), arm=name, method="other", config={"learner": {"rate": index}})
        )
        lines = run.metrics_path.read_text().replace('"eval/pass_at_1":0.', f'"eval/pass_at_1":0.{index:02d}')
        run.metrics_path.write_text(lines)
    saw = read(
        """
        saw.shown = $$('[data-toggle][aria-pressed="true"]').map((chip) => chip.textContent);
        saw.colours = new Set($$('[data-toggle][aria-pressed="true"]').map((c) => c.getAttribute("style"))).size;
        saw.early = $$(".plot.js-plotly-plot").length;
        $("#all").click();
        saw.places = $$("figure:not([hidden]) .plot").length;
        saw.late = $$(".plot.js-plotly-plot").length;
        saw.curves = drawnIn("entropy").length;
        """,
        folder=folder,
    )
    assert saw["shown"][0] == "grpo"
    assert "arm 29" in saw["shown"]
    assert len(saw["shown"]) == saw["colours"] == 8
    assert saw["early"] < saw["late"] + 1 < saw["places"]
    assert saw["curves"] == 31
