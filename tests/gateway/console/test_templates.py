"""Templates: no text is taken for HTML, and nothing is said that the policy for browsers forbids."""

from __future__ import annotations

import re

import pytest
from jinja2 import nodes

from backbeat.gateway.console.rendering import Templates

#: What lets a text through as it is, whatever is in it.
_UNESCAPED = (nodes.MarkSafe, nodes.MarkSafeIfAutoescape, nodes.EvalContextModifier, nodes.ScopedEvalContextModifier)
#: Inline styles, handlers and scripts: browsers refuse them, and tell only those who look.
_INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", re.IGNORECASE)

environment = Templates()._environment
NAMES = environment.list_templates()


def problems(source: str) -> list[str]:
    tree = environment.parse(source)
    filters = [node for node in tree.find_all(nodes.Filter) if node.name in ("safe", "xmlattr", "urlize")]
    escapes = list(tree.find_all(_UNESCAPED))
    names = [node for node in tree.find_all(nodes.Name) if node.name == "Markup"]
    inline = [node for node in tree.find_all(nodes.TemplateData) if _INLINE.search(node.data)]
    return [f"line {node.lineno}: {type(node).__name__}" for node in (*filters, *escapes, *names, *inline)]


@pytest.mark.parametrize("name", NAMES)
def test_no_template_takes_a_text_for_html(name):
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, name)

    assert problems(source) == []


def test_all_templates_are_escaped_and_none_is_left_out():
    assert environment.autoescape is True
    assert len(NAMES) > 40
    assert {"layout.html", "parts/macros.html", "rows.html"} <= set(NAMES)


@pytest.mark.parametrize(
    "source",
    [
        "{{ text|safe }}",
        "{{ (text|upper)|safe|cut(3) }}",
        "{% filter safe %}{{ text }}{% endfilter %}",
        "{% set a = text|safe %}",
        "{% macro m(x) %}{{ x|safe }}{% endmacro %}",
        "{% autoescape false %}{{ text }}{% endautoescape %}",
        "{{ Markup(text) }}",
        '<p style="color: red">',
        '<button onclick="go()">',
        "<script>go()</script>",
    ],
)
def test_what_is_refused_is_seen(source):
    assert problems(source) != []
