"""The ledger: what the demo's checks stand on."""

from types import SimpleNamespace

import pytest

from backbeat.compose.demo.ledger import Ledger, LedgerReader, Span, most_at_once


def activity(node="n", **more):
    return SimpleNamespace(**{"name": "Pack Order", "id": node, "subject": "Sale", "attempt": 1, **more})


def test_notes_of_the_ledger_are_read_as_they_come(tmp_path):
    path = tmp_path / "ledger"
    reader, ledger = LedgerReader(path), Ledger(path)
    assert reader.entries() == []

    with ledger.run(activity(), 7):
        ledger.note("charged", activity())
    ledger.note("charged", activity(subject="Another"))

    assert [entry.event for entry in reader.entries()] == ["begin", "charged", "end", "charged"]
    assert len(reader.noted("charged", None, ["Sale"])) == 1
    (span,) = reader.spans("Pack Order", ["Sale"])
    assert span.number == 7
    assert span.begin <= span.end


def test_half_a_line_waits_for_its_other_half(tmp_path):
    path = tmp_path / "ledger"
    Ledger(path).note("charged", activity())
    line = path.read_bytes()
    path.write_bytes(line + line[:20])
    reader = LedgerReader(path)

    assert len(reader.entries()) == 1
    path.write_bytes(line + line)
    assert len(reader.entries()) == 2


def test_a_run_that_failed_has_ended_too(tmp_path):
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    with pytest.raises(ZeroDivisionError), ledger.run(activity()):
        _ = 1 / 0

    assert len(LedgerReader(path).spans("Pack Order", ["Sale"])) == 1


def test_how_many_ran_at_once():
    def spans(*pairs):
        return [Span(begin, end, 0, "s") for begin, end in pairs]

    assert most_at_once([]) == 0
    assert most_at_once(spans((0, 1), (1, 2))) == 1
    assert most_at_once(spans((0, 3), (1, 2), (1.5, 4), (5, 6))) == 3
