"""Figures as they stand in the JSON, small and made up."""

from __future__ import annotations

from typing import Any

from bench.figures import Round


def cell(proxy: str, *rounds: Round, base: str = "nginx", **more: Any) -> dict[str, Any]:
    """Return a cell."""
    return {"proxy": proxy, "base": base, **more, "rounds": list(rounds)}


def costs(*values_us: float) -> list[Round]:
    """Return rounds with these processor times."""
    return [{"cpu_us": value, "per_s": 1e6 / value} for value in values_us]


def scenario(kind: str, figure: str, **cells: dict[str, Any]) -> dict[str, Any]:
    """Return a scenario; in the names of cells _ stands for a blank."""
    return {
        "about": f"about {kind}",
        "kind": kind,
        "figure": figure,
        "cells": {name.replace("_", " "): c for name, c in cells.items()},
    }


def times(p99_us: float) -> Round:
    """Return a round of latencies."""
    return {"cpu_us": 30.0, "per_s": 1000.0, "p50_us": p99_us / 4, "p99_us": p99_us, "p999_us": p99_us * 2}


def everything() -> dict[str, Any]:
    """Return figures of each kind: greenproxy is dear when small, cheap in bulk, and Caddy has failed."""
    small = scenario(
        "cost",
        "cpu_us",
        nginx=cell("nginx", *costs(10, 20, 10)),
        greenproxy=cell("greenproxy", *costs(20, 50, 30)),
        caddy=cell("caddy", *costs(50), {"failed": "12 answers were not 2xx"}),
    )
    bulk = scenario("cost", "cpu_us", nginx=cell("nginx", *costs(1000)), greenproxy=cell("greenproxy", *costs(500), tls=_TLS))
    own = scenario(
        "cost",
        "cpu_us",
        greenproxy=cell("greenproxy", *costs(20), base="greenproxy"),
        asked_for_other_targets=cell("greenproxy", *costs(26), base="greenproxy"),
    )
    rate = scenario("latency", "p99_us", nginx=cell("nginx", times(1000)), greenproxy=cell("greenproxy", times(1500)))
    idle = scenario("memory", "bytes", nginx=cell("nginx", {"bytes": 400.0}), greenproxy=cell("greenproxy", {"bytes": 800.0}))
    routes = scenario(
        "growth",
        "cpu_us",
        greenproxy_1=cell("greenproxy", *costs(20), base="greenproxy 1", at=1),
        greenproxy_1000=cell("greenproxy", *costs(22), base="greenproxy 1", at=1000),
    )
    return {
        "format": 1,
        "date": "2026-01-02",
        "rounds": 3,
        "seconds": 1.0,
        "machine": {"cores": 2, "processor": "a processor", "memory_gib": 8, "kernel": "Linux 6.1", "load_before": 0.1},
        "versions": {"greenproxy": "0.1.0", "nginx": "1.22.1"},
        "scenarios": {"small": small, "bulk-1m": bulk, "own": own, "rate-1k": rate, "idle-memory": idle, "routes": routes},
    }


_TLS = {"version": "TLSv1.3", "resumes": True}
