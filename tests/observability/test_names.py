"""What the numbers of a configuration are called."""

from __future__ import annotations

from greenproxy.config.settings import Address, BackendSettings, ListenerSettings, Settings, UpstreamSettings
from greenproxy.observability.names import names_of, of_backend, statsd_gauges, stems


def backend(port: int, name: str = "", scheme: str = "http") -> BackendSettings:
    return BackendSettings(address=Address(host="10.0.0.1", port=port), name=name, scheme=scheme)


def shop(*backends: BackendSettings, name: str = "shop") -> UpstreamSettings:
    return UpstreamSettings(name=name, backends=backends)


def test_a_backend_is_known_by_upstream_scheme_and_address_not_by_its_name() -> None:
    assert stems(shop(backend(80, "blue"))) == stems(shop(backend(80, "green"))) == ("upstream/shop/http://10.0.0.1:80",)
    others = [shop(backend(81)), shop(backend(80), name="shop2"), shop(backend(80, scheme="https"))]
    assert len({stems(each) for each in others} | {stems(shop(backend(80)))}) == 4


def test_twins_are_told_apart() -> None:
    assert len(set(stems(shop(backend(80, "a"), backend(80, "b"), backend(80, "c"))))) == 3


def test_names_are_unique_even_where_those_of_statsd_are_not() -> None:
    settings = Settings(
        listeners=(ListenerSettings(name="shop"), ListenerSettings(name="shop.requests")),
        upstreams=(
            shop(backend(80, "a.b"), backend(81, "a_b")),
            shop(backend(80), name="s.hop"),
            shop(backend(80), name="s_hop"),
        ),
    )
    names = names_of(settings)
    everything = [*names.gauges, *names.counters, *names.verdicts]
    assert len(everything) == len(set(everything))


def test_what_statsd_gets_is_on_the_board() -> None:
    settings = Settings(upstreams=(shop(backend(80, "blue"), backend(81)),))
    shown = statsd_gauges(settings)
    assert set(shown) <= set(names_of(settings).gauges)
    assert shown[of_backend("upstream/shop/http://10.0.0.1:81", "up")] == "upstream.shop.10_0_0_1_81.up"
    assert shown[of_backend("upstream/shop/http://10.0.0.1:80", "idle")] == "upstream.shop.blue.idle"
