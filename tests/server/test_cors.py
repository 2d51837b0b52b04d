"""Which pages may read what: both dialects on one mount, with the setting that each of them has."""

import httpx
import pytest

from tests.server.running import CONFIG, running

ORIGIN = "https://app.example"


@pytest.fixture(scope="module", params=[False, True], ids=["without cookies", "with cookies"])
def shared(request):
    config = CONFIG.with_(cors_allowed_origins=(ORIGIN,), cors_allow_credentials=request.param)
    with running("kalam", config=config) as server:
        yield server.url, request.param


#: Routes of either dialect, and whether their pages may send credentials when KalamDB's setting says no.
ROUTES = [
    ("POST", "/v1/api/sql", False),
    ("GET", "/v1/api/auth/me", False),
    ("POST", "/v1/api/topics/consume", False),
    ("GET", "/v1/files/a/b/f0001/1-x.txt", False),
    ("GET", "/info", True),
    ("POST", "/ksql", True),
    ("POST", "/query-stream", True),
]


@pytest.mark.parametrize(("method", "path", "always"), ROUTES)
def test_answers_and_preflights_say_the_same(shared, method, path, always):
    url, cookies = shared
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": method}
    expected = "true" if cookies or always else None
    for answer in (
        httpx.options(url + path, headers=asked),
        httpx.request(method, url + path, headers=asked),
    ):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers.get("access-control-allow-credentials") == expected
        assert answer.headers.get_list("vary") == ["Origin"]


@pytest.mark.parametrize(("method", "path", "always"), ROUTES)
@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil.example", "null"])
def test_other_pages_read_nothing(shared, method, path, always, origin):
    url, _ = shared
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    for answer in (
        httpx.options(url + path, headers=asked),
        httpx.request(method, url + path, headers=asked),
    ):
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]
