from __future__ import annotations

import pytest

from greenproxy.config.errors import ConfigErrors
from greenproxy.process.guest import configuration_file


@pytest.mark.parametrize("file", ["greenproxy.ini", "/etc/greenproxy/edge.conf"])
def test_positional_argument_names_the_file(file: str) -> None:
    assert configuration_file(file, {"GREENPROXY_CONFIG": "other.ini"}) == file


def test_environment_names_the_file() -> None:
    assert configuration_file("greenproxy", {"GREENPROXY_CONFIG": "other.ini"}) == "other.ini"


@pytest.mark.parametrize(("app_uri", "environ"), [("greenproxy", {}), ("shop:app", {"GREENPROXY_CONFIG": "other.ini"})])
def test_anything_else_is_refused_in_one_line(app_uri: str, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigErrors) as refused:
        configuration_file(app_uri, environ)
    assert len(str(refused.value).splitlines()) == 1
