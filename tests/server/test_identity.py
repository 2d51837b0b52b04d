"""Who is calling: headers, secrets, addresses."""

import base64

import pytest

from kalam_server.context import Context
from kalam_server.identity import (
    LOCAL,
    Caller,
    Gate,
    client_ip,
    host_of,
    is_here,
    is_loopback,
    read_authorization,
    same_secret,
)
from kalam_server.limits import Limits, RateLimiter
from kalam_server.service import Service

GATE = Gate(lambda: ("s3cret", "kernel"))


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "header",
    ["Bearer s3cret", "bearer kernel", "token s3cret", basic("anybody", "s3cret"), basic("", "kernel")],
)
def test_a_known_secret_makes_a_local_caller_in_any_scheme(header):
    assert GATE.caller({"Authorization": header}) is LOCAL


def test_another_bearer_token_may_be_kalams():
    assert GATE.caller({"Authorization": "Bearer a.b.c"}) == Caller("kalam", "a.b.c", "Bearer")


@pytest.mark.parametrize(
    "header", [basic("root", "wrong"), "Basic !!!", "Basic " + "gA==", "Digest x=y", "Bearer", "Bearer "]
)
def test_what_is_not_known_is_anonymous_but_not_unsaid(header):
    caller = GATE.caller({"Authorization": header})
    assert caller.kind == "anonymous"
    assert caller.scheme == header.split()[0]


def test_no_header_is_for_others_to_judge():
    assert GATE.caller({}) is None
    assert GATE.caller({"Authorization": "  "}) is None
    assert GATE.caller({"Authorization": "token unknown"}) is None


def test_an_open_gate_lets_everybody_be_local():
    gate = Gate(lambda: (), open=True)
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": basic("a", "b")}):
        assert gate.caller(headers) is LOCAL


def test_an_empty_secret_opens_nothing():
    assert not same_secret("", ("",))
    assert Gate(lambda: ("",)).caller({"Authorization": basic("a", "")}).kind == "anonymous"


def test_basic_passwords_may_hold_colons():
    assert read_authorization(basic("u", "a:b")).value == "a:b"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_loopback_addresses(address, expected):
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("Example.COM:8080", "example.com"),
        ("[::1]:8088", "::1"),
        ("http://localhost:3000", "localhost"),
        ("[broken", ""),
    ],
)
def test_host_of_a_header(header, host):
    assert host_of(header) == host


def test_a_page_whose_name_was_rebound_is_not_here():
    assert is_here("127.0.0.1", "localhost:8080") and is_here("::1", "[::1]:8080")
    assert not is_here("127.0.0.1", "evil.example:8080") and not is_here("192.0.2.1", "localhost:8080")


def test_a_proxy_on_this_machine_is_looked_through():
    assert client_ip("127.0.0.1", {"X-Forwarded-For": "203.0.113.9, 10.0.0.1"}) == "203.0.113.9"
    assert client_ip("127.0.0.1", {"X-Real-IP": "203.0.113.9"}) == "203.0.113.9"
    assert client_ip("10.1.2.3", {"X-Forwarded-For": "203.0.113.9"}, ["10.0.0.0/8"]) == "203.0.113.9"


def test_a_forged_forward_does_not_make_a_caller_local():
    assert client_ip("10.1.2.3", {"X-Forwarded-For": "127.0.0.1"}) == "10.1.2.3"
    assert client_ip("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}) == "127.0.0.1"
    assert client_ip("127.0.0.1", {"X-Forwarded-For": "nonsense"}) == "127.0.0.1"


def context(**changes):
    return Context(Service(lambda: None), Gate(lambda: ("t",)), **changes)


def test_loopback_listeners_refuse_foreign_hosts():
    here = context(check_host=True)
    assert here.host_allowed("localhost:8088")
    assert here.host_allowed("127.0.0.1:8088")
    assert not here.host_allowed("rebound.example:8088")
    assert not here.host_allowed("")
    assert context().host_allowed("anything.example")


def test_origins():
    closed = context()
    assert closed.origin_allowed(None, "localhost:1")
    assert closed.origin_allowed("http://localhost:1", "localhost:1")
    assert closed.origin_allowed("http://localhost:3000", "localhost:1")
    assert not closed.origin_allowed("https://evil.example", "localhost:1")
    assert not closed.origin_allowed("null", "localhost:1")
    assert context(origins=("https://app.example",)).origin_allowed("https://app.example", "h")
    assert context(origins=("*",)).origin_allowed("https://evil.example", "h")


def test_an_open_listener_takes_only_its_own_pages():
    opened = Context(Service(lambda: None), Gate(lambda: (), open=True))
    assert opened.origin_allowed("http://localhost:8088", "localhost:8088")
    assert not opened.origin_allowed("http://localhost:3000", "localhost:8088")


class Hand:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self):
        return self.now


def test_a_bucket_holds_a_second_and_refills_with_time():
    hand = Hand()
    limiter = RateLimiter(clock=hand)
    assert [limiter.allow("a", 3) for _ in range(4)] == [True, True, True, False]
    assert limiter.allow("b", 3)
    hand.now = 0.34
    assert limiter.allow("a", 3)
    assert not limiter.allow("a", 3)
    assert all(limiter.allow("a", 0) for _ in range(100))


def test_every_tenth_violation_bans_for_longer():
    hand = Hand()
    limits = Limits(clock=hand)
    for _ in range(9):
        limits.violation("x", 300)
    assert limits.banned("x") == 0
    limits.violation("x", 300)
    assert limits.banned("x") == 300
    hand.now = 301
    assert limits.banned("x") == 0
    for _ in range(10):
        limits.violation("x", 300)
    assert limits.banned("x") == 600
    assert limits.banned("y") == 0
