"""Authority: certificates for tests, made by openssl(1) as they are needed, so that none can expire in the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_CONFIG = """
[ca]
default_ca = own
[own]
new_certs_dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
default_md = sha256
policy = any
email_in_dn = no
unique_subject = no
[any]
organizationName = optional
organizationalUnitName = optional
commonName = supplied
"""


def openssl(*words: str | Path) -> str:
    """Run openssl(1) and return what it wrote."""
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and of its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates in a folder of its own. `file` is its own certificate."""

    def __init__(self, folder: Path, name: str = "tests") -> None:
        if shutil.which("openssl") is None and not os.environ.get("CI"):
            pytest.skip("not installed: openssl")
        self._folder = folder / f"authority-{name}"
        self._folder.mkdir()
        self.file, self._key = self._folder / "ca.pem", self._folder / "ca.key"
        (self._folder / "index.txt").touch()
        (self._folder / "serial").write_text("1000\n")
        (self._folder / "ca.cnf").write_text(_CONFIG.format(folder=self._folder))
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *curve, "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.file, "-days", "2")
        self._made = 0

    def issue(
        self,
        *names: str,
        subject: str = "",
        start: str = "",
        end: str = "",
        kind: Sequence[str] = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    ) -> Pair:
        """Return a new pair for these DNS names. `start` and `end` are written YYYYMMDDHHMMSSZ; else it is valid now."""
        self._made += 1
        stem = self._folder / f"{self._made}"
        certificate, key, request, extensions = (stem.with_suffix(each) for each in (".pem", ".key", ".csr", ".ext"))
        subject = subject or f"/CN={names[0]}"
        openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", subject, "-keyout", key, "-out", request, "-utf8")
        extensions.write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in names) if names else "")
        dates = ["-startdate", start or "20200101000000Z", "-enddate", end or "20990101000000Z"]
        mine = ("-config", self._folder / "ca.cnf", "-cert", self.file, "-keyfile", self._key)
        openssl(
            "ca", "-batch", "-notext", "-preserveDN", *mine, "-in", request, "-out", certificate, "-extfile", extensions, *dates
        )
        return Pair(certificate, key)
