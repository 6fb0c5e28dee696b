"""What a call says, in JSON, in a form and in a query."""

import json
import urllib.parse

import pytest

from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.http.parameters import DEPTH_MAX, Parameters, to_id
from backbeat.gateway.http.times import to_milliseconds


def of_json(value):
    return Parameters.of_json(json.dumps(value).encode())


def of_form(*pairs):
    return Parameters.of_pairs(urllib.parse.urlencode(pairs))


def refused(make):
    with pytest.raises(Refusal) as refusal:
        make()
    assert refusal.value.status == 400
    return str(refusal.value)


@pytest.mark.parametrize("text", [b"", b"  ", b"[1]", b'"x"', b"5", b"null", b"{}"])
def test_what_is_no_object_counts_as_empty(text):
    assert Parameters.of_json(text).is_empty


@pytest.mark.parametrize("text", [b"{bad", b"[1,", b'{"a":01}', b'{"a":"\xff"}', b"\xff", b'{"a":NaN}', b"{}x"])
def test_malformed_json_is_refused(text):
    refused(lambda: Parameters.of_json(text))


def test_nesting_is_bounded():
    deep = b'{"a":' * DEPTH_MAX + b"1" + b"}" * DEPTH_MAX
    assert "a" in Parameters.of_json(deep)
    assert "200" in refused(lambda: Parameters.of_json(b'{"a":' + deep + b"}"))
    wide = json.dumps({"a": [{}] * 1000}).encode()
    assert "a" in Parameters.of_json(wide)
    brackets_in_text = json.dumps({"a": "[{" * 1000}).encode()
    assert Parameters.of_json(brackets_in_text).text("a") == "[{" * 1000


def test_keys_are_snake_case_and_nulls_absent():
    parameters = of_json({"retryInterval": 5, "firesAt": None, "ClientId": "x"})
    assert parameters.number("retry_interval") == 5
    assert "fires_at" not in parameters
    assert "client_id" in parameters


def test_client_data_passes_untouched():
    parameters = Parameters.of_json(rb'{"clientData": {"zZ": 1.0, "aA": {"b-c": null}}}')
    assert parameters.untouched_object("client_data") == b'{"zZ":1.0,"aA":{"b-c":null}}'
    assert "object" in refused(lambda: of_json({"client_data": [1]}).untouched_object("client_data"))


def test_responses_get_snake_case_keys():
    assert of_json({"response": {"aB": [{"cD": 1}]}}).json("response") == b'{"a_b":[{"c_d":1}]}'


@pytest.mark.parametrize("value", ["3", 3, 3.0, " 3 "])
def test_numbers_and_numeric_text(value):
    assert of_json({"retry": value}).whole_number("retry") == 3


@pytest.mark.parametrize("value", ["x", -1, "-1", True, [3], {}, 2**31, "nan", "inf", 1e300, 0.5])
def test_bad_numbers(value):
    assert "retry" in refused(lambda: of_json({"retry": value}).whole_number("retry"))


@pytest.mark.parametrize(("value", "expected"), [(5, "5"), (1.5, "1.5"), (0, "0")])
def test_a_number_as_text(value, expected):
    assert of_json({"name": value}).word("name") == expected


@pytest.mark.parametrize("value", [5, [], {}, True, "a\0b"])
def test_bad_text(value):
    assert "name" in refused(lambda: of_json({"name": value}).text("name"))


@pytest.mark.parametrize("value", ["", "  ", None])
def test_blank_text_is_as_absent(value):
    parameters = of_json({"a": value})
    assert (parameters.text("a"), parameters.number("a"), parameters.time("a"), parameters.uuid("a")) == (None,) * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-01-01T00:00:00Z", 1_451_606_400_000),
        ("2016-01-01T00:00:00.250Z", 1_451_606_400_250),
        ("2016-01-01T02:00:00+02:00", 1_451_606_400_000),
        ("2016-01-01 00:00:00 UTC", 1_451_606_400_000),
        ("2016-01-01 00:00:00 +0000", 1_451_606_400_000),
        ("2016-01-01", 1_451_606_400_000),
        ("1950-01-01", 0),
        ("yesterday", None),
        ("", None),
        ("2016-13-01", None),
        ("2016/01/02 00:00:00 +0000", 1_451_692_800_000),
        ("2016/1/2", 1_451_692_800_000),
        ("Sat, 02 Jan 2016 00:00:00 GMT", 1_451_692_800_000),
        ("Sat, 02 Jan 2016 02:00:00 +0200", 1_451_692_800_000),
        ("Sat, 2 Jan 2016 00:00:00 -0000", 1_451_692_800_000),
        ("Sat Jan  2 00:00:00 2016", 1_451_692_800_000),
        ("Sat Jan 2 00:00:00 UTC 2016", 1_451_692_800_000),
        ("2016-01-01 19:00:00 EST", 1_451_692_800_000),
        ("2016-01-02 01:00 CET", 1_451_692_800_000),
        ("2016-01-02 01:00:00 Europe/Berlin", 1_451_692_800_000),
        ("2 January 2016", 1_451_692_800_000),
        ("31/01/2016", 1_454_198_400_000),
        # What could be two times, or says too little, is none.
        ("01/02/2016", None),
        ("2 Jan 16", None),
        ("2016-01-02 01:00 IST", None),
        ("2016-01-02 01:00 GMT+3", None),
        ("2016-01-02 01:00 Europe/Nowhere", None),
        ("Jan 2016", None),
        ("21:14:06", None),
        ("Monday 2016", None),
        ("1451692800", None),
    ],
)
def test_times(text, expected):
    assert to_milliseconds(text) == expected


def test_a_key_without_a_value_is_as_absent():
    parameters = Parameters.of_pairs("name&page=2&subject=")
    assert "name" not in parameters
    assert (parameters.raw_text("page"), parameters.raw_text("subject")) == ("2", "")
    assert Parameters.of_pairs("name").is_empty


@pytest.mark.parametrize("value", ["soon", 5, True, ["2016-01-01"]])
def test_bad_times(value):
    assert "fires_at" in refused(lambda: of_json({"fires_at": value}).time("fires_at"))


def test_ids():
    text = "0B4E9B1E-57a5-4f0e-9d4b-6f1c34c0f0aa"
    assert to_id(text).hex() == text.replace("-", "").lower()
    assert "UUID" in refused(lambda: to_id("1"))
    assert "UUID" in refused(lambda: of_json({"client_id": 5}).uuid("client_id"))


def test_forms_nest():
    parameters = of_form(
        ("name", "a"),
        ("options[clientData][aB]", "1"),
        ("decisions[][name]", "x"),
        ("decisions[][client_data][a]", "1"),
        ("decisions[][client_data][b]", "2"),
        ("decisions[][name]", "y"),
        ("list[]", "1"),
        ("list[]", "2"),
    )
    assert parameters.text("name") == "a"
    assert parameters.nested("options").untouched("client_data") == b'{"aB":"1"}'
    first, second = parameters.nested_list("decisions")
    assert (first.text("name"), first.untouched("client_data")) == ("x", b'{"a":"1","b":"2"}')
    assert second.text("name") == "y"
    assert parameters.json("list") == b'["1","2"]'


@pytest.mark.parametrize("key", ["a[", "a]", "[a]", "[]", "a[b][", "a[][]", ""])
def test_odd_keys_of_forms_break_nothing(key):
    of_form((key, "x"), (key, "y"), (f"{key}[b]", "z"))


def test_a_form_is_bounded():
    refused(lambda: Parameters.of_pairs("&".join(["a=1"] * 20_000)))
    refused(lambda: Parameters.of_pairs("a" + "[b]" * (DEPTH_MAX + 1) + "=1"))
    refused(lambda: Parameters.of_pairs("a=%ff"))


def test_lists_and_objects():
    assert "list" in refused(lambda: of_json({"decisions": {"a": 1}}).nested_list("decisions"))
    assert "object" in refused(lambda: of_json({"decisions": [1]}).nested_list("decisions"))
    assert "object" in refused(lambda: of_json({"options": "x"}).nested("options"))
    assert of_json({}).nested_list("decisions") is None


def test_what_comes_later_counts():
    assert of_json({"name": "a", "x": 1}).merged(of_json({"name": "b"})).text("name") == "b"
