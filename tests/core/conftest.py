"""Hypothesis profiles: `prove` runs much longer (HYPOTHESIS_PROFILE=prove)."""

import os

from hypothesis import HealthCheck, Phase, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
#: Without the phase that explains a failure: it takes minutes here.
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
_COMMON = {"deadline": None, "suppress_health_check": _SLOW, "phases": _PHASES, "report_multiple_bugs": False}
settings.register_profile("default", max_examples=100, database=None, **_COMMON)
settings.register_profile("prove", max_examples=20_000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
