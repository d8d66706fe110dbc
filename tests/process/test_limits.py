from __future__ import annotations

from greenproxy.config.settings import Address, BackendSettings, ProcessSettings, Settings, UpstreamSettings
from greenproxy.process.limits import RESERVE, fit


def settings(worker_connections: int, pool_size: int = 10, backends: int = 2) -> Settings:
    """Return settings with one upstream."""
    addresses = tuple(BackendSettings(address=Address(host="h", port=port)) for port in range(1, backends + 1))
    upstream = UpstreamSettings(name="shop", backends=addresses, pool_size=pool_size)
    return Settings(process=ProcessSettings(worker_connections=worker_connections), upstreams=(upstream,))


def test_what_fits_stays_as_it_is() -> None:
    wanted = settings(worker_connections=1000)
    assert fit(wanted, 1000 + 20 + RESERVE) == (wanted, "")


def test_what_does_not_fit_is_lowered_with_a_warning() -> None:
    fitted, warning = fit(settings(worker_connections=1000), 1000 + 20 + RESERVE - 1)
    assert fitted.process.worker_connections == 999
    assert "worker-connections = 1000 does not fit" in warning
    assert "lowered to 999" in warning


def test_no_limit_becomes_what_fits_without_a_warning() -> None:
    fitted, warning = fit(settings(worker_connections=0), 4096)
    assert fitted.process.worker_connections == 4096 - 20 - RESERVE
    assert warning == ""


def test_pools_that_take_everything_leave_a_quarter_for_clients() -> None:
    fitted, warning = fit(settings(worker_connections=1000, pool_size=5000), 1024)
    assert fitted.process.worker_connections == 256
    assert warning
