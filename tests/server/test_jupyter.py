"""The extension in a Jupyter Server: where routes are, who may call."""

import base64
import json
import os
import re

import pytest
from tornado.httpclient import HTTPClientError
from traitlets import TraitError

from kalam_server.routes import KALAM_ROUTES, KSQL_ROUTES


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def test_routes_are_below_base_url_as_published(call, extension):
    info = await call("GET", "info")
    assert info.code == 200
    server = json.loads(info.body)["KsqlServerInfo"]
    assert set(server) == {"version", "kafkaClusterId", "ksqlServiceId", "serverStatus"}
    assert info.headers["X-Kalam-Jupyter"]
    answer = await call("POST", "v1", "api", "sql", body={"sql": "SELECT 1 AS one"})
    assert answer.code == 200
    assert json.loads(answer.body)["results"][0]["rows"] == [["1"]]


async def test_the_engine_is_not_opened_before_it_is_needed(call, extension):
    assert not extension._service.opened
    await call("GET", "health")
    assert not extension._service.opened
    await call("POST", "ksql", body={"ksql": "LIST STREAMS;"})
    assert extension._service.opened


@pytest.fixture
def root_password(monkeypatch):
    monkeypatch.setenv("KALAMDB_ROOT_PASSWORD", "FromOutside1!")
    return "FromOutside1!"


async def test_settings_come_from_kalamdbs_variables_too(root_password, login, extension):
    assert await login("root", root_password)
    with pytest.raises(TraitError, match="unknown setting 'nope'"):
        extension.kalam = {"nope": 1}


async def test_unknown_paths_of_kalamdb_are_empty_404s(call):
    for method in ("GET", "POST"):
        answer = await call(method, "v1", "api", "nope", headers={"anonymous": True})
        assert (answer.code, answer.body) == (404, b"")


async def test_jupyters_own_routes_still_answer(call):
    assert (await call("GET", "api", "status")).code == 200


@pytest.fixture
def credentials(jp_serverapp, extension, login):
    token = jp_serverapp.identity_provider.token
    return {
        "jupyter token": {"Authorization": f"token {token}"},
        "jupyter token as bearer": {"Authorization": f"Bearer {token}"},
        "jupyter token as password": basic("anybody", token),
        "kernel token": {"Authorization": f"Bearer {extension._kernel_token}"},
    }


async def test_each_credential_opens_both_apis(call, credentials, login):
    for name, headers in {**credentials, "kalam token": await login()}.items():
        answer = await call("POST", "ksql", body={"ksql": "LIST STREAMS;"}, headers=headers)
        assert (name, answer.code) == (name, 200)
    for name in ("jupyter token", "jupyter token as bearer", "kernel token"):
        answer = await call("POST", "v1", "api", "sql", body={"sql": "SELECT 1"}, headers=credentials[name])
        assert (name, answer.code) == (name, 200)


async def test_a_token_in_the_query_string_works_as_it_does_in_jupyter(call, jp_serverapp):
    token = jp_serverapp.identity_provider.token
    answer = await call("GET", "info", headers={"anonymous": True}, params={"token": token})
    assert answer.code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"anonymous": True},
        {"Authorization": "Bearer aaa.bbb.ccc"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "token wrong"},
        basic("root", "wrong"),
        {"Authorization": "Basic !!"},
    ],
)
async def test_without_a_credential_ksql_answers_401_in_its_own_envelope(call, headers):
    answer = await call("POST", "ksql", body={"ksql": "LIST STREAMS;"}, headers=headers)
    assert answer.code == 401
    assert json.loads(answer.body) == {
        "@type": "generic_error",
        "error_code": 40100,
        "message": "Unauthorized",
    }


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"anonymous": True}, "MISSING_AUTHORIZATION"),
        ({"Authorization": "Bearer aaa.bbb.ccc"}, "INVALID_CREDENTIALS"),
        (basic("root", "RootPass123!"), "INVALID_CREDENTIALS"),
    ],
)
async def test_without_a_credential_kalam_answers_401_in_its_own_envelope(call, headers, code):
    answer = await call("POST", "v1", "api", "sql", raw="not json", headers=headers)
    assert answer.code == 401
    body = json.loads(answer.body)
    assert (body["status"], body["results"], body["error"]["code"]) == ("error", [], code)


#: What the contracts leave open, and what checks its caller in a way of its own.
PUBLIC = {
    ("GET", "/healthcheck/?"),
    ("GET", "/v1/metadata/?"),
    ("GET", "/v1/metadata/id/?"),
    ("GET", "/chc/(?:ready|live)/?"),
    ("GET", "/health"),
    ("GET", "/v1/api/healthcheck"),
    ("GET", "/v1/api/cluster/health"),
    ("POST", "/v1/api/auth/login"),
    ("POST", "/v1/api/auth/refresh"),
    ("POST", "/v1/api/auth/logout"),
    ("GET", "/v1/ws"),
    ("GET", r"/v1/openapi\.json"),  # the description of the API: the same for everybody
}


async def test_every_other_route_refuses_strangers(call):
    for entry in KSQL_ROUTES + KALAM_ROUTES:
        path = re.sub(r"\(\?:[^()]*\)\?|/\?", "", entry.pattern)  # without what is optional
        path = re.sub(r"\(\?:([^|()]*)[^()]*\)", r"\1", path).replace("([^/]+)", "x")
        for method in ("GET", "POST"):
            if (method, entry.pattern) in PUBLIC:
                continue
            answer = await call(method, *path.strip("/").split("/"), headers={"anonymous": True})
            assert answer.code in (401, 403, 404, 405), (method, path, answer.code)


async def test_a_kalam_user_of_low_role_may_not_use_ksql(call, login):
    root = await login()
    sql = "CREATE USER 'alice' WITH PASSWORD 'AlicePass1!' ROLE user"
    assert (await call("POST", "v1", "api", "sql", body={"sql": sql}, headers=root)).code == 200
    alice = await login("alice", "AlicePass1!")
    answer = await call("POST", "ksql", body={"ksql": "LIST STREAMS;"}, headers=alice)
    assert (answer.code, json.loads(answer.body)["error_code"]) == (403, 40300)


async def test_a_login_cookie_needs_the_xsrf_token_for_a_post(jp_serverapp, jp_base_url, http_server_client):
    token = jp_serverapp.identity_provider.token
    cookies = {}

    async def fetch(path, **options):
        headers = {"Cookie": "; ".join(f"{n}={v}" for n, v in cookies.items()), **options.pop("headers", {})}
        answer = await http_server_client.fetch(
            jp_base_url + path, headers=headers, raise_error=False, follow_redirects=False, **options
        )
        for cookie in answer.headers.get_list("Set-Cookie"):
            name, _, value = cookie.split(";")[0].partition("=")
            cookies[name] = value
        return answer

    async def post(**headers):
        body = json.dumps({"ksql": "LIST STREAMS;"})
        return (await fetch("ksql", method="POST", body=body, headers=headers)).code

    await fetch("login")
    await fetch(f"api/me?token={token}")
    assert (await fetch("api/me")).code == 200
    assert await post() == 403
    assert await post(**{"X-XSRFToken": cookies["_xsrf"]}) == 200
    assert await post(**{"X-XSRFToken": cookies["_xsrf"], "Origin": "https://evil.example"}) in (403, 404)


async def test_a_foreign_host_is_refused_even_with_a_token(call):
    answer = await call("GET", "info", headers={"Host": "rebound.example"})
    assert answer.code == 403


async def test_setup_is_for_the_servers_own_user(call):
    body = {"user": "dba1", "password": "DbaPass123!", "root_password": "RootPass123!"}
    path = ("v1", "api", "auth", "setup")
    assert (await call("POST", *path, body=body, headers={"anonymous": True})).code == 403
    assert (await call("POST", *path, body=body)).code == 409


async def test_kernels_learn_the_address_and_a_token_that_is_not_the_servers(jp_serverapp, extension):
    await extension._start_jupyter_server_extension(jp_serverapp)
    assert os.environ["KALAM_JUPYTER_URL"].endswith("/a%40b/")
    assert os.environ["KALAM_JUPYTER_TOKEN"] == extension._kernel_token
    assert jp_serverapp.identity_provider.token not in (
        os.environ["KALAM_JUPYTER_TOKEN"],
        os.environ["KALAM_JUPYTER_URL"],
    )
    await extension.stop_extension()
    assert "KALAM_JUPYTER_URL" not in os.environ
    assert "KALAM_JUPYTER_TOKEN" not in os.environ


async def test_the_kernel_token_is_not_jupyters(jp_fetch, extension):
    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch("api", "kernels", headers={"Authorization": f"token {extension._kernel_token}"})
    assert refused.value.code == 403


class TestWithAPrefix:
    @pytest.fixture
    def jp_server_config(self):
        return {
            "ServerApp": {"jpserver_extensions": {"kalam_server": True}},
            "KalamExtension": {"prefix": "stream/sql", "local_user": "ada", "local_user_role": "service"},
        }

    async def test_routes_move_below_it(self, call):
        assert (await call("GET", "stream", "sql", "info")).code == 200
        assert (await call("GET", "info")).code == 404

    async def test_local_callers_act_as_the_configured_user(self, call):
        answer = await call("POST", "stream", "sql", "v1", "api", "sql", body={"sql": "SELECT 1"})
        assert json.loads(answer.body)["results"][0]["as_user"] == "ada"
        me = await call("GET", "stream", "sql", "v1", "api", "auth", "me")
        assert json.loads(me.body)["user"]["role"] == "service"
