"""Transactional ids: each names the engine whose transactions they are."""

from __future__ import annotations


def transactional_id(application_id: str, instance_id: str) -> str:
    """The name of an engine's transactions."""
    return f"{application_id}-{instance_id}"


def instance_of(application_id: str, transaction: str) -> str:
    """The instance id that a transactional id was made of."""
    return transaction.removeprefix(f"{application_id}-")
