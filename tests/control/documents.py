"""Documents as /api/status gives them."""

from __future__ import annotations

from typing import Any


def document(**changes: Any) -> dict[str, Any]:
    """Return a document with some other values at the top."""
    whole: dict[str, Any] = {
        "version": "0.1.0",
        "pid": 3943,
        "state": "serving",
        "uptime": 273_600.5,
        "generation": 2,
        "reload": {"number": 1, "state": "done", "message": ""},
        "workers": [
            {"pid": 3950, "state": "serving", "connections": 12, "requests": 1_234_567, "uptime": 61.0, "generation": 2},
            {"pid": 3951, "state": "draining", "connections": 3, "requests": 89, "uptime": 273_600.0, "generation": 1},
        ],
        "connections": {"active": 10, "idle": 5},
        "requests": 1_234_656,
        "errors": 9,
        "responses": {"1xx": 0, "2xx": 1_234_600, "3xx": 40, "4xx": 7, "5xx": 9},
        "rates": {"requests_per_s": 1234.5, "errors_per_s": 0.1},
        "listeners": [
            {
                "name": "web",
                "protocol": "http",
                "bind": ["127.0.0.1:8080", "unix:/run/web.sock"],
                "connections": 15,
                "requests": 1_234_600,
            },
            {
                "name": "secure",
                "protocol": "http",
                "bind": [":8443"],
                "connections": 0,
                "requests": 56,
                "tls": {"handshakes": 21, "resumed": 13, "failures": 2},
                "certificates": [
                    {
                        "file": "/etc/greenproxy/example.com.pem",
                        "names": ["example.com", "*.example.com"],
                        "not_after": "2027-02-19T08:30:00+00:00",
                    },
                    {
                        "file": "/etc/greenproxy/example.org.pem",
                        "names": ["example.org"],
                        "not_after": "2026-12-24T23:59:59+00:00",
                    },
                ],
            },
        ],
        "routes": [{"name": "docs", "path": ["/docs/"], "redirect": "https://docs.python.org/3/"}],
        "upstreams": [
            {
                "name": "demo",
                "queued": 0,
                "requests": 1_000_000,
                "failures": 4,
                "retries": 3,
                "retry_reasons": {"connect-refused": 3},
                "rates": {"requests_per_s": 12.3},
                "backends": [
                    {
                        "name": "blue",
                        "address": "127.0.0.1:9001",
                        "state": "up",
                        "active": 3,
                        "idle": 5,
                        "requests": 500_000,
                        "failures": 0,
                    },
                    {
                        "name": "127.0.0.1:9002",
                        "address": "127.0.0.1:9002",
                        "state": "down",
                        "active": 0,
                        "idle": 0,
                        "requests": 500_004,
                        "failures": 4,
                    },
                ],
            }
        ],
    }
    return whole | changes
