"""Where webhooks may call, and where never."""

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from store import receivers
from store.receivers import Allowed, Refused

NOBODY = Allowed.parse("")
EVERYBODY = Allowed.parse("0.0.0.0/0, ::/0, receiver.lan")


def check(address: str, allowed: Allowed = NOBODY, url: str = "https://receiver.lan/in") -> None:
    receivers.check(receivers.parse(url), [ip_address(address)], allowed)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses_may_be_called_over_https(address: str) -> None:
    check(address)
    with pytest.raises(Refused, match="use https"):
        check(address, url="http://receiver.lan/in")
    check(address, Allowed.parse("receiver.lan"), "http://receiver.lan/in")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
        "198.18.0.1", "192.0.2.1", "::1", "::", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1", "2001::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "::127.0.0.1",
    ],
)  # fmt: skip
def test_inner_addresses_need_an_operator(address: str) -> None:
    with pytest.raises(Refused, match="CMAC_WEBHOOK_ALLOW") as refused:
        check(address)
    assert address not in str(refused.value), "nobody learns from it what an inner name leads to"
    check(address, EVERYBODY, "http://receiver.lan/in")


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.170.2", "169.254.0.1", "fe80::1", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42",
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)  # fmt: skip
def test_metadata_addresses_are_called_by_nobody_whatever_is_allowed(address: str) -> None:
    with pytest.raises(Refused, match="metadata"):
        check(address, EVERYBODY)


def test_one_inner_address_among_public_ones_is_enough_to_refuse() -> None:
    target = receivers.parse("https://receiver.lan/")
    with pytest.raises(Refused):
        receivers.check(target, [ip_address("1.1.1.1"), ip_address("10.0.0.1")], NOBODY)


def test_a_range_allows_its_addresses_and_a_host_its_name() -> None:
    allowed = Allowed.parse("10.1.0.0/16, Hooks.lan ,")
    check("10.1.2.3", allowed, "http://other.lan/")
    check("10.9.9.9", allowed, "http://hooks.lan:8080/in?x=1")
    check("::ffff:10.1.2.3", allowed)
    with pytest.raises(Refused):
        check("10.2.0.1", allowed)


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.1", "127.0.0.1"), ("2130706433", "127.0.0.1"), ("0x7f.0.0.1", "127.0.0.1"), ("[::1]", "::1")],
)
def test_other_spellings_of_an_address_are_looked_through(host: str, address: str) -> None:
    target = receivers.parse(f"https://{host}/")
    addresses = receivers.resolve(target)
    assert addresses == [ip_address(address)]
    with pytest.raises(Refused):
        receivers.check(target, addresses, NOBODY)


def test_every_address_of_a_name_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", ("10.0.0.1", 443)), (2, 1, 6, "", ("10.0.0.1", 443)), (10, 1, 6, "", ("fd12::1", 443, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    addresses = receivers.resolve(receivers.parse("https://receiver.lan/"))
    assert addresses == [ip_address("10.0.0.1"), ip_address("fd12::1")]


def test_a_name_that_leads_nowhere_is_refused_in_words() -> None:
    with pytest.raises(Refused, match=r"host nowhere\.invalid is not known"):
        receivers.resolve(receivers.parse("https://nowhere.invalid/"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://a.lan/", "begin with https"), ("a.lan/in", "begin with"), ("file:///etc/passwd", "begin with"),
        ("https://eva:pw@a.lan/", "user, password"), ("https://a.lan/#x", "fragment"), ("https:///in", "name a host"),
        ("https://a..lan/", "name a host"), ("https://-/", "name a host"), ("https://a.lan:0/", "port"),
        ("https://a.lan:99999/", "port"), ("https://a.lan:x/", "port"), ("https://a.lan/\r\nHost: b", "ASCII"),
        ("https://ä.lan/", "ASCII"), ("https://a.lan/" + "x" * 2000, "2000"), ("https://[::1/", "IPv6"),
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_receiver_is_told_why(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        receivers.parse(url)


def test_a_url_is_taken_apart_and_put_together_with_an_address() -> None:
    target = receivers.parse("HTTPS://Hooks.Lan:8443/in?a=1")
    assert (target.host, target.authority) == ("hooks.lan", "hooks.lan:8443")
    assert target.at(ip_address("10.0.0.1")) == "https://10.0.0.1:8443/in?a=1"
    assert target.at(ip_address("fd12::1")) == "https://[fd12::1]:8443/in?a=1"
    assert receivers.parse("https://[fd12::1]").authority == "[fd12::1]"


@pytest.mark.parametrize("text", ["10.0.0.1/8", "a.lan b.lan", "*.lan", "10.0.0.0/40", "http://a.lan"])
def test_what_is_neither_host_nor_range_is_named(text: str, settings: Any) -> None:
    with pytest.raises(ValueError, match=r"CMAC_WEBHOOK_ALLOW: .*neither a host name nor a range"):
        type(settings)(webhook_allow=text)
