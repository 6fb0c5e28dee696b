"""Attack: what somebody tries who may not, and whether the promise that it is about was kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx2
from confluent_kafka import KafkaException

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.drill.report.result import PromiseResult
from backbeat.compose.drill.security.installation import SecuredInstallation

_EVIDENCE_CHARACTERS_MAX = 300
#: What keeps an attack from being made: nothing was proved.
_UNMADE = (SetupError, KafkaException, httpx2.HTTPError, OSError)


class BrokenError(Exception):
    """An attack has succeeded; the text is the evidence."""


@dataclass(frozen=True)
class Attack:
    """An attack on an installation."""

    #: row of SECURITY.md's table
    area: str
    name: str
    promise: str
    #: makes it: the evidence that it was withstood, or BrokenError
    make: Callable[[SecuredInstallation], str]

    def result(self, installation: SecuredInstallation) -> PromiseResult:
        """Make it. What could not be made has kept no promise."""
        try:
            evidence, is_kept = self.make(installation), True
        except BrokenError as error:
            evidence, is_kept = str(error), False
        except _UNMADE as error:
            evidence, is_kept = f"it could not be tried: {type(error).__name__}: {error}", False
        evidence = " ".join(evidence.split())[:_EVIDENCE_CHARACTERS_MAX]
        return PromiseResult(area=self.area, attack=self.name, promise=self.promise, is_kept=is_kept, evidence=evidence)


def expect(condition: object, evidence: str) -> None:
    """BrokenError with this evidence where a condition does not hold."""
    if not condition:
        raise BrokenError(evidence)
