"""Words are explained where they come first, outside of tags, and all of them in the list."""

from html import unescape

from markupsafe import Markup

from orchestrator.report.glossary import GLOSSARY, explained
from orchestrator.report.rendering import rendered


def test_a_word_is_explained_where_it_comes_first_and_no_part_of_a_word_is():
    html = explained("the entropy, entropies, entropy-aware and entropy again")
    assert html.count("<abbr") == 1
    assert html.startswith('the <abbr title="')
    assert html.endswith("entropies, entropy-aware and entropy again")


def test_the_longest_word_counts():
    assert explained("0.2 nats per token").endswith(">nats per token</abbr>")


def test_attributes_of_tags_stay_as_they_are():
    html = explained(Markup('<b class="reward" title="entropy">x</b> reward'))
    assert html.startswith('<b class="reward" title="entropy">x</b> <abbr')


def test_escaped_text_stays_escaped():
    assert explained(Markup("&lt;script&gt; seed")).startswith("&lt;script&gt; <abbr")


def test_the_list_has_every_word_and_meaning():
    text = unescape(rendered("glossary.html", glossary=GLOSSARY))
    for word, meaning in GLOSSARY.items():
        assert f"<dt>{word}</dt><dd>{meaning}</dd>" in text
        assert not meaning.endswith(".")
