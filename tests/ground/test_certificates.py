from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from greenproxy.certificates import BadPair, check_authorities, examine
from tests.authorities import Authority, openssl


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def test_names_are_those_of_the_subject_alternative_name(authority: Authority) -> None:
    pair = authority.issue("A.example.com", "*.b.example.com", subject="/CN=other.example.com")
    assert examine(str(pair.certificate), str(pair.key)).names == ("a.example.com", "*.b.example.com")


def test_common_name_counts_where_there_is_no_other(authority: Authority) -> None:
    pair = authority.issue(subject="/O=Example/CN=Old.example.com")
    assert examine(str(pair.certificate), str(pair.key)).names == ("old.example.com",)


def test_key_may_stand_with_its_certificate_and_the_first_certificate_counts(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("a.example.com")
    file = tmp_path / "both.pem"
    file.write_text("about it\n" + pair.certificate.read_text() + authority.file.read_text() + pair.key.read_text())
    assert examine(str(file)).names == ("a.example.com",)


@pytest.mark.parametrize(("start", "end"), [("20210203040506Z", "20490102030405Z"), ("20210203040506Z", "20500102030405Z")])
def test_dates_are_read_in_both_of_their_forms(authority: Authority, start: str, end: str) -> None:
    pair = authority.issue("a.example.com", start=start, end=end)
    facts = examine(str(pair.certificate), str(pair.key))
    assert [f"{date:%Y%m%d%H%M%SZ}" for date in (facts.not_before, facts.not_after)] == [start, end]


def test_dates_are_complained_of_outside_of_them(authority: Authority) -> None:
    pair = authority.issue("a.example.com", start="20210101000000Z", end="20220101000000Z")
    facts = examine(str(pair.certificate), str(pair.key))
    begin, end, second = facts.not_before, facts.not_after, timedelta(seconds=1)
    assert facts.complaint(begin) == facts.complaint(end) == ""
    assert facts.complaint(begin - second) == "is not valid before 2021-01-01 00:00 UTC"
    assert facts.complaint(end + second) == "has expired on 2022-01-01 00:00 UTC"
    assert facts.complaint(datetime(2021, 6, 1, tzinfo=UTC)) == ""


@pytest.mark.parametrize("kind", [("rsa:2048",), ("ed25519",)])
def test_other_kinds_of_keys_are_good_too(authority: Authority, kind: tuple[str, ...]) -> None:
    pair = authority.issue("a.example.com", kind=kind)
    assert examine(str(pair.certificate), str(pair.key)).names == ("a.example.com",)


def test_weak_key_is_refused(authority: Authority) -> None:
    pair = authority.issue("a.example.com", kind=("rsa:1024",))
    with pytest.raises(BadPair, match="key too small"):
        examine(str(pair.certificate), str(pair.key))


def test_every_cut_of_a_certificate_is_a_bad_pair(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("a.example.com")
    lines = pair.certificate.read_text().splitlines()
    file = tmp_path / "cut.pem"
    for count in range(1, len(lines) - 2):
        file.write_text("\n".join([*lines[: 1 + count], lines[-1]]))
        with pytest.raises(BadPair):
            examine(str(file), str(pair.key))


def test_authorities_must_be_certificates(authority: Authority, tmp_path: Path) -> None:
    check_authorities(str(authority.file))
    for text in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (tmp_path / "ca.pem").write_text(text)
        with pytest.raises(BadPair, match=r"ca\.pem"):
            check_authorities(str(tmp_path / "ca.pem"))


def test_serial_numbers_differ(authority: Authority) -> None:
    """The reloads are tested by them."""
    serials = {openssl("x509", "-noout", "-serial", "-in", authority.issue("a").certificate) for _ in range(3)}
    assert len(serials) == 3
