from __future__ import annotations

from pathlib import Path

from greenproxy.config.settings import PathMatch, RouteSettings, Settings
from greenproxy.process.checks import ambiguous_routes


def route(name: str, line: int, path: str) -> RouteSettings:
    return RouteSettings(name=name, line=line, path=(PathMatch(kind="prefix", text=path),), status=404)


def test_second_of_two_equal_routes_is_the_mistake() -> None:
    settings = Settings(source=Path("f.ini"), routes=(route("a", 5, "/x/"), route("b", 9, "/x/"), route("c", 12, "/y/")))
    assert [str(mistake) for mistake in ambiguous_routes(settings)] == [
        "f.ini:9: [route:b] takes the same requests as [route:a] in line 5: neither is more specific"
    ]
