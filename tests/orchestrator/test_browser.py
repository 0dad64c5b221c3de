"""The browser that tests drive looks into the page that it is asked about, and says what it saw."""

from __future__ import annotations

from html import escape

import pytest

pytestmark = pytest.mark.slow

EMPTY = "<iframe sandbox='allow-scripts' srcdoc=''></iframe>"


def framed(text, sandbox=""):
    return f"<iframe {sandbox} srcdoc='{escape(text, quote=True)}'></iframe>"


@pytest.fixture
def page_of(tmp_path):
    def write(content):
        path = tmp_path / f"{len(list(tmp_path.glob('*.html')))}.html"
        path.write_text(f"<!doctype html><title>a page</title>{content}")
        return path.as_uri()

    return write


def test_a_frame_is_found_in_its_own_page_whatever_process_it_is_in(browser, page_of):
    """Other pages have frames too, and so may the page that a browser begins with; the page itself has empty ones."""
    browser.open(page_of(EMPTY + framed("<p>wanted</p> of another page")))
    sandboxed = "sandbox='allow-scripts'"
    for wanted in (
        framed("<p>wanted</p>"),
        framed("<p>wanted</p>", sandboxed),
        framed(framed("<p>wanted</p>", sandboxed), sandboxed),
        framed(framed("<p>wanted</p>")),
    ):
        page = browser.open(page_of(EMPTY + wanted + EMPTY))
        found = browser.wait_in_frame(page, "!!document.querySelector('p')", 60)
        assert browser.evaluate(found, "document.body.innerText") == "wanted"


def test_a_frame_whose_document_is_replaced_is_followed(browser, page_of):
    """As MLflow does, which gives its frame another address whenever it draws."""
    replace = (
        "<script>setTimeout(() => { document.querySelector('iframe').src = URL.createObjectURL("
        "new Blob(['<p>wanted</p>'], {type: 'text/html'})) }, 500)</script>"
    )
    page = browser.open(page_of(EMPTY.replace(" srcdoc=''", " src='about:blank'") + replace))
    browser.wait_in_frame(page, "!!document.querySelector('p')", 60)


def test_what_was_seen_is_said(browser, page_of):
    page = browser.open(page_of(framed("first") + framed("second", "sandbox='allow-scripts'")))
    browser.wait_in_frame(page, "document.body.innerText === 'second'", 60)
    with pytest.raises(TimeoutError) as missed:
        browser.wait_in_frame(page, "!!document.querySelector('p')", 0)
    assert "about:srcdoc 'first'" in str(missed.value)
    assert "about:srcdoc 'second'" in str(missed.value)
    with pytest.raises(TimeoutError, match="no frame in 'nothing'"):
        browser.wait_in_frame(browser.open(page_of("nothing")), "true", 0)
