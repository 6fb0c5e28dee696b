"""Visitor of the console, and the rights that pages ask for."""

from __future__ import annotations

import enum

import msgspec


class Right(enum.Enum):
    """Right that a page or an action needs."""

    #: Nobody need be logged in.
    NONE = enum.auto()
    #: Lists, trees, statuses, errors.
    READ = enum.auto()
    #: Arguments, results and metadata.
    PAYLOADS = enum.auto()
    #: Changes.
    ACT = enum.auto()


class Role(enum.StrEnum):
    """Role of a person."""

    READER = "reader"
    OPERATOR = "operator"


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Visitor: a person or a client that was let in."""

    name: str
    role: Role
    #: Way in: `person`, `client`, `proxy`, `open`.
    way: str
    payloads: bool
    #: Clients whose workflows and nodes are seen; None: all.
    clients: frozenset[bytes] | None = None
    #: Text that forms are bound to: another one for each session.
    session_id: str = ""

    def may(self, right: Right) -> bool:
        """True if the visitor has the right."""
        match right:
            case Right.PAYLOADS:
                return self.payloads
            case Right.ACT:
                return self.role is Role.OPERATOR
            case _:
                return True

    def sees(self, client_id: bytes | None) -> bool:
        """True if this client's workflows and nodes (None: anybody's) are the visitor's to see."""
        return self.clients is None or client_id in self.clients


#: Everybody, where nobody logs in: `backbeat dev`.
DEVELOPER = Visitor(name="dev", role=Role.OPERATOR, way="open", payloads=True, session_id="dev")
