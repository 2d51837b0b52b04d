"""A Jupyter Server with our extension, and helpers to talk to it."""

import json

import pytest
from tornado.httpclient import HTTPClientError


@pytest.fixture
def jp_server_config():
    return {
        "ServerApp": {
            "jpserver_extensions": {"kalam_server": True},
            "allow_unauthenticated_access": False,
        },
        "KalamExtension": {"kalam": {"bcrypt_cost": 4, "root_password": "RootPass123!"}},
    }


@pytest.fixture
def extension(jp_serverapp):
    """The loaded extension."""
    return jp_serverapp.extension_manager.extension_points["kalam"].app


@pytest.fixture
def call(jp_serverapp, jp_fetch):
    """Send a request; return the response whatever its status."""

    async def call(method, *path, body=None, headers=None, params=None, raw=None):
        headers = dict(headers or {})
        if headers.pop("anonymous", False):
            headers["Authorization"] = ""
        if body is not None:
            raw = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        if raw is None and method == "POST":
            raw = ""
        try:
            return await jp_fetch(
                *path, method=method, body=raw, headers=headers, params=params, allow_nonstandard_methods=True
            )
        except HTTPClientError as error:
            if error.response is None:
                raise
            return error.response

    return call


@pytest.fixture
def login(call):
    """Log a KalamDB user in; return the headers of a bearer."""

    async def login(user="root", password="RootPass123!"):
        answer = await call(
            "POST",
            *("v1", "api", "auth", "login"),
            body={"user": user, "password": password},
            headers={"anonymous": True},
        )
        return {"Authorization": f"Bearer {json.loads(answer.body)['access_token']}"}

    return login
