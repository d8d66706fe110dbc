"""A module of a user that needs another, which is not there."""

import a_package_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401
