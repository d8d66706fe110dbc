from __future__ import annotations

import pytest

from greenproxy.config.middleware_options import BUILT_INS
from greenproxy.config.settings import MiddlewareSettings
from greenproxy.middleware import loading
from tests.config.inis import settings_of

EXAMPLES = {
    "header": "X-Trace-ID",
    "keep": "never",
    "request-set": "A: b",
    "request-add": "A: b\n  C: d, e",
    "request-remove": "A, B\n  C",
    "response-set": "A: b",
    "response-add": "A: b",
    "response-remove": "A",
}
EVERY_OPTION = [(kind, key) for kind, options in BUILT_INS.items() for key in options]


def middleware(text: str) -> MiddlewareSettings:
    return settings_of(text + "\n[listener:a]\nbind = :0\n[route:b]\nstatus = 404").middlewares[0]


def test_the_middleware_room_has_the_same_built_ins() -> None:
    assert set(BUILT_INS) == set(loading.BUILT_INS)


@pytest.mark.parametrize(("kind", "key"), EVERY_OPTION)
def test_the_middleware_room_takes_every_option(kind: str, key: str) -> None:
    settings = middleware(f"[middleware:x]\ntype = {kind}\n{key} = {EXAMPLES[key]}")
    assert settings.options == ((key, EXAMPLES[key].replace("\n  ", "\n")),)
    loading.BUILT_INS[kind].check(dict(settings.options))


@pytest.mark.parametrize("kind", BUILT_INS)
def test_the_middleware_room_knows_no_other_option(kind: str) -> None:
    with pytest.raises(ValueError, match="unknown key"):
        loading.BUILT_INS[kind].check({"xyzzy": "1"})


def test_the_type_of_a_built_in_is_the_name_of_its_section() -> None:
    assert middleware("[middleware:request-id]\nkeep = never").type == "request-id"


def test_user_code_gets_whatever_keys_there_are() -> None:
    settings = middleware("[middleware:x]\ntype = m:f\nadmin = 1\ntls-key =\n  a\n  b, c\nempty =")
    assert settings.options == (("admin", "1"), ("tls-key", "a\nb, c"), ("empty", ""))
