"""How many examples a property test tries: few in every run, many where somebody has the time.

GREENPROXY_TEST_EXAMPLES = 50 in the environment multiplies them by 50.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("GREENPROXY_TEST_EXAMPLES", "1"))


def examples(count: int) -> settings:
    """Return the settings of a property test that tries `count` examples, or a multiple of it."""
    slow = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return settings(max_examples=count * TIMES, deadline=None, suppress_health_check=slow)
