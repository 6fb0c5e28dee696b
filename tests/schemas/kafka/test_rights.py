"""Rights at the brokers: those of a client are its alone."""

from __future__ import annotations

import pytest

from backbeat.schemas.kafka.rights import Part, rights_of
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX, SIGNALS_PREFIX

OF_CLIENTS = [part for part in Part if part.is_of_client]


@pytest.mark.parametrize("part", OF_CLIENTS)
@pytest.mark.parametrize("client", ["shop.", "shop-share"])
def test_a_name_whose_rights_another_client_would_share_is_refused(part, client):
    with pytest.raises(ValueError, match="What to do"):
        rights_of(part, client, "engines")


@pytest.mark.parametrize("part", OF_CLIENTS)
def test_no_right_of_a_client_is_to_a_prefix(part):
    assert [right for right in rights_of(part, "shop.web", "engines") if right.is_prefix] == []


def test_engines_have_rights_to_the_topics_of_all_clients():
    prefixes = {(right.name, right.operations) for right in rights_of(Part.ENGINE, "", "engines") if right.is_prefix}
    assert {(SIGNALS_PREFIX, ("READ",)), (ACTIVITIES_PREFIX, ("WRITE",))} <= prefixes
