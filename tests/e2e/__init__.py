"""End to end: a real proxy process between real sockets."""

import pytest

pytest.register_assert_rewrite("tests.e2e.errors", "tests.e2e.house", "tests.e2e.crowd")
