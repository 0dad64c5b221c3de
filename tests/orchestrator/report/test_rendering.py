"""Templates: what stands in them is escaped, a value that is not there is an error, and the package has them all."""

import re
import tomllib
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from orchestrator.report.glossary import explained
from orchestrator.report.rendering import Arms, json_for_script, rendered

ROOT = Path(__file__).parents[3]
TEMPLATES = ROOT / "orchestrator" / "report" / "templates"
HOSTILE = '<script>alert("x")</script>'


def plots(missing):
    return rendered("plots.html", arms=Arms(()), figures=[], missing=missing, note="")


def test_a_text_is_escaped_and_html_of_a_template_is_not():
    assert plots(HOSTILE).strip() == (
        '<p class="missing">&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;</p>'
    )
    inner = plots("none")
    assert inner in rendered("table.html", title="", table=inner, note="", missing="")


def test_a_plain_text_whose_words_are_explained_is_escaped_once():
    assert explained("<reward>").startswith("&lt;<abbr")
    assert explained(Markup("&lt;i&gt;")) == "&lt;i&gt;"


def test_names_of_arms_stand_out_in_a_sentence():
    arms = Arms(("a", "<b>"))
    assert list(arms.words("`a` beats `<b>`, not `c`")) == [
        ("", False),
        ("a", True),
        (" beats ", False),
        ("<b>", True),
        (", not ", False),
        ("`c`", False),
        ("", False),
    ]


def test_json_ends_no_script():
    assert "</" not in json_for_script({"text": "</script>"})


def test_a_value_that_is_not_there_is_an_error():
    with pytest.raises(UndefinedError, match="missing"):
        rendered("plots.html", arms=Arms(()), figures=[], note="")


def test_the_package_has_every_template_and_none_trusts_a_text():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packed = {
        path
        for package, patterns in settings["package-data"].items()
        if package in settings["packages"]
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    files = {path for path in TEMPLATES.parent.rglob("*") if path.suffix in (".html", ".css", ".js")}
    assert files == packed
    for path in TEMPLATES.glob("*.html"):
        assert not re.search(r"\|\s*safe\b|autoescape", path.read_text()), path
