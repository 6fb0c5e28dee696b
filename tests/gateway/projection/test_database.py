"""The database: what several writers at once do."""

from __future__ import annotations

import threading

from backbeat.gateway.projection.storage import facts
from backbeat.gateway.projection.storage.database import begin_writing, open_engine, parse_url


def test_a_rebuild_asked_for_beside_another_waits_for_its_turn(tmp_path):
    engine = open_engine(parse_url(f"sqlite:///{tmp_path / 'projection.sqlite'}"))
    with engine.begin() as connection:
        facts.build_anew(connection, "topic")

    def ask() -> None:
        with begin_writing(engine) as connection:
            facts.ask_for_rebuild(connection)

    beside = threading.Thread(target=ask)
    with begin_writing(engine) as connection:
        generation_before = facts.read_facts(connection).wanted
        beside.start()
        # It waits; one that did not would have written by then.
        beside.join(1)
        generation = facts.ask_for_rebuild(connection)
    beside.join(60)
    with engine.begin() as connection:
        generation_after = facts.read_facts(connection).wanted
    assert (generation_before, generation_after) == (generation - 1, generation + 1)
    engine.dispose()
