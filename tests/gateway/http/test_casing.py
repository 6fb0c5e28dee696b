"""Keys in snake_case and camelCase, and compact JSON: the text is rewritten, its values are not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbeat.gateway.http.casing import camel, camel_keys, compact, snake, snake_keys

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("clientData", "client_data"),
        ("client_data", "client_data"),
        ("ClientData", "client_data"),
        ("HTTPCode", "http_code"),
        ("a-b", "a_b"),
        ("fooBar2Baz", "foo_bar2_baz"),
        ("A::B", "a/b"),
        ("", ""),
    ],
)
def test_snake(word, expected):
    assert snake(word) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("order_id", "orderId"), ("orderId", "orderId"), ("http_code", "httpCode"), ("Upper", "upper"), ("a/b", "a::B")],
)
def test_camel(word, expected):
    assert camel(word) == expected


def test_keys_are_rewritten_at_any_depth_but_for_client_data_and_metadata():
    text = b'{"aB": [{"cD": 1}], "metadata": {"eF": {"gH": 1}}, "x": {"clientData": {"iJ": 1}, "kL": {"mN": 2}}}'
    assert json.loads(snake_keys(text)) == {
        "a_b": [{"c_d": 1}],
        "metadata": {"eF": {"gH": 1}},
        "x": {"client_data": {"iJ": 1}, "k_l": {"m_n": 2}},
    }


def test_values_keep_their_digits_and_keys_their_order():
    text = rb'{ "zZ" : 1.50e3, "aA": 123456789012345678901234567890, "q\"Q": "b:C", "u": "\u00e9\/" }'
    assert snake_keys(text).decode() == '{"z_z":1.50e3,"a_a":123456789012345678901234567890,"q\\"q":"b:C","u":"é/"}'


def test_camel_keys():
    assert camel_keys(b'{"order_id":5,"line_items":[{"sku_code":"a_b"}]}') == (
        b'{"orderId":5,"lineItems":[{"skuCode":"a_b"}]}'
    )


@given(JSON)
def test_compact_changes_no_value(value):
    for ascii_only in (False, True):
        text = json.dumps(value, ensure_ascii=ascii_only, indent=1).encode()
        compacted = compact(text)
        assert json.loads(compacted) == value
        assert compact(compacted) == compacted


@given(JSON)
def test_keys_that_are_snake_case_stay(value):
    text = snake_keys(json.dumps(value).encode())
    assert snake_keys(text) == text
