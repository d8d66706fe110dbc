"""The way from HTTP to HTTPS in docs/tls.md does what the page says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.authorities import Authority
from tests.client import RawClient, get
from tests.config.test_tls_page import EXAMPLES
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.tls_client import SecureClient


def test_plain_requests_are_redirected_and_secure_answers_say_to_stay(tmp_path: Path) -> None:
    (example,) = [each for each in EXAMPLES if "redirect =" in each]
    pair = Authority(tmp_path).issue("example.com")
    shutil.copy(pair.certificate, tmp_path / "example.com.pem")
    shutil.copy(pair.key, tmp_path / "example.com.key")
    with ScriptedBackend() as backend:
        ini = re.sub(r"bind = :\d+", "bind = 127.0.0.1:0", example).replace("http://127.0.0.1:8000", backend.url)
        with RunningProxy(tmp_path, ini) as proxy:
            with RawClient(proxy.address("plain")) as client:
                sent_on = client.ask(get("/cart?item=7", host="www.example.com:80", method="POST"), method="POST")
            with SecureClient(proxy.address("secure")) as safe:
                served = safe.ask(get("/cart?item=7"))
    assert (sent_on.status, sent_on.get("location")) == (308, "https://www.example.com/cart?item=7")
    assert sent_on.get("strict-transport-security") is None
    assert (served.status, served.get("strict-transport-security")) == (200, "max-age=31536000")
