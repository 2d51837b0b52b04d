"""Settings from a file and from the environment."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from kalam_jupyter.kalam import KalamConfig
from kalam_jupyter.kalam.settings import KEYS, VARIABLES, load

FILE = """
[auth]
jwt_trusted_issuers = ["https://issuer.example"]
cookie_secure = false
[security.cors]
allowed_origins = ["http://localhost:5173"]
[limits]
default_query_limit = 10
[websocket]
auth_timeout_secs = 0.5
"""


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(FILE)
    assert load(path, {}) == KalamConfig(
        jwt_trusted_issuers=("https://issuer.example",),
        cookie_secure=False,
        cors_allowed_origins=("http://localhost:5173",),
        default_query_limit=10,
        ws_auth_timeout=0.5,
    )


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[auth]\njwt_expiry_hours = 1\nallow_remote_setup = false")
    environ = {
        "KALAMDB_JWT_EXPIRY_HOURS": "2.5",
        "KALAMDB_ALLOW_REMOTE_SETUP": "true",
        "KALAMDB_JWT_TRUSTED_ISSUERS": "https://a.example, https://b.example",
        "KALAMDB_ROOT_PASSWORD": "12345678",
        "KALAMDB_COOKIE_SECURE": "",
    }
    found = load(path, environ, KalamConfig(bcrypt_cost=4))
    assert (found.jwt_expiry_hours, found.allow_remote_setup, found.bcrypt_cost) == (2.5, True, 4)
    assert found.jwt_trusted_issuers == ("https://a.example", "https://b.example")
    assert (found.root_password, found.cookie_secure) == ("12345678", True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[auth]\njwt_expiry = 1", "unknown setting 'auth.jwt_expiry'"),
        ("[auth]\njwt_expiry_hours = 'x'", "auth.jwt_expiry_hours: expected a number"),
        ("[limits]\nmax_query_limit = true", "limits.max_query_limit: expected a whole number"),
        ("[auth]\noidc_auto_provision_role = 'system'", "expected user, service or dba"),
        ("[files]\nallowed_mime_types = [1]", "expected a list of strings"),
        ("[auth", "server.toml"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "server.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        load(path, {})


def test_a_variable_of_another_type_is_named() -> None:
    with pytest.raises(ValueError, match="KALAMDB_COOKIE_SECURE: expected true or false"):
        load(None, {"KALAMDB_COOKIE_SECURE": "perhaps"})


def test_every_key_is_a_setting() -> None:
    names = {f.name for f in fields(KalamConfig)}
    assert {field for field, _ in KEYS.values()} <= names
    assert set(VARIABLES.values()) <= set(KEYS)
