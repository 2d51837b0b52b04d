"""Tokens of external issuers: a local issuer with real keys, asked over HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kalam_jupyter.engine import Engine
from kalam_jupyter.kalam import Kalam, KalamError, oidc

from .conftest import CONFIG, Client

RSA = rsa.generate_private_key(65537, 2048)
ROTATED = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """An OpenID Connect issuer: its discovery document, its keys, and the tokens it signs."""

    def __init__(self) -> None:
        self.keys = {"rsa": RSA, "ec": EC}
        self.asked: list[str] = []
        self.said: dict[str, Any] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                body = json.dumps(issuer.answer(self.path)).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/realm"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> dict[str, Any]:
        if path == "/realm/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.said}
        keys = []
        for kid, key in self.keys.items():
            kind = jwt.algorithms.RSAAlgorithm if kid != "ec" else jwt.algorithms.ECAlgorithm
            keys.append({**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"})  # type: ignore[attr-defined]
        return {"keys": keys}

    def token(
        self,
        *,
        key: Any = RSA,
        kid: str | None = "rsa",
        algorithm: str = "RS256",
        typ: str = "JWT",
        **claims: Any,
    ) -> str:
        now = int(time.time())
        said = {"iss": self.url, "sub": "ann", "iat": now, "exp": now + 60, **claims}
        return jwt.encode(
            said, key, algorithm=algorithm, headers={"typ": typ, **({"kid": kid} if kid else {})}
        )


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()
    issuer.server.server_close()


@pytest.fixture
def make(engine: Engine, issuer: Issuer) -> Iterator[Callable[..., Kalam]]:
    made: list[Kalam] = []

    def make(**settings: Any) -> Kalam:
        kalam = Kalam(engine, CONFIG.with_(jwt_trusted_issuers=(issuer.url,), **settings))
        made.append(kalam)
        return kalam

    yield make
    for kalam in made:
        kalam.close()


def oauth_user(kalam: Kalam, name: str, provider: str = "corp", role: str = "user") -> None:
    payload = json.dumps({"provider": provider, "subject": name})
    Client(kalam, kalam.session("root")).run(f"CREATE USER '{name}' WITH OAUTH '{payload}' ROLE {role}")


@pytest.mark.parametrize(
    ("algorithm", "key", "kid"),
    [("RS256", RSA, "rsa"), ("PS384", RSA, "rsa"), ("ES256", EC, "ec"), ("RS512", RSA, None)],
)
def test_a_token_of_a_trusted_issuer_opens_its_subjects_account(
    make: Callable[..., Kalam], issuer: Issuer, algorithm: str, key: Any, kid: str | None
) -> None:
    kalam = make()
    oauth_user(kalam, "ann", role="service")
    session = kalam.auth.verify(issuer.token(algorithm=algorithm, key=key, kid=kid))
    assert (session.user_id, session.role) == ("ann", "service")


def test_keys_are_fetched_once_and_again_when_an_unknown_one_signs(
    make: Callable[..., Kalam], issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kalam = make()
    oauth_user(kalam, "ann")
    for i in range(3):
        kalam.auth.verify(issuer.token(n=i))
    assert len(issuer.asked) == 2
    issuer.keys["new"] = ROTATED
    rotated = issuer.token(key=ROTATED, kid="new")
    with pytest.raises(KalamError):  # not so soon: senders of tokens must not make us ask at will
        kalam.auth.verify(rotated)
    assert len(issuer.asked) == 2
    monkeypatch.setattr(oidc, "PAUSE", 0)
    fresh = make()
    with pytest.raises(KalamError):
        fresh.auth.verify(issuer.token(key=ROTATED, kid="gone"))
    assert fresh.auth.verify(rotated).user_id == "ann"


REFUSED: dict[str, dict[str, Any]] = {
    "expired": {"exp": 1},
    "another issuer": {"iss": "http://127.0.0.1:1/realm"},
    "our own name": {"iss": "kalamdb", "role": "system", "token_type": "access"},
    "refresh by header": {"typ": "refresh+jwt"},
    "refresh by claim": {"token_type": "refresh"},
    "Keycloak's refresh": {"claim_typ": "Refresh"},
    "unknown subject": {"sub": "nobody"},
    "password user": {"sub": "bob"},
    "root": {"sub": "root"},
    "another issuer's user": {"sub": "eve"},
    "foreign signature": {"key": ROTATED},
    "not yet valid": {"nbf": 2**40},
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused_tokens(make: Callable[..., Kalam], issuer: Issuer, why: str) -> None:
    kalam = make()
    oauth_user(kalam, "ann")
    oauth_user(kalam, "eve", provider="https://elsewhere.example")
    root = Client(kalam, kalam.session("root"))
    root.run("CREATE USER bob WITH PASSWORD 'x' ROLE user")
    change = dict(REFUSED[why])
    if (typ := change.pop("claim_typ", None)) is not None:
        now = int(time.time())
        claims = {"iss": issuer.url, "sub": "ann", "iat": now, "exp": now + 60, "typ": typ}
        token = jwt.encode(claims, RSA, algorithm="RS256", headers={"kid": "rsa"})
    else:
        token = issuer.token(**change)
    with pytest.raises(KalamError) as caught:
        kalam.auth.verify(token)
    assert caught.value.code == ("TOKEN_EXPIRED" if why == "expired" else "INVALID_CREDENTIALS")


def test_a_public_key_is_no_shared_secret(make: Callable[..., Kalam], issuer: Issuer) -> None:
    kalam = make(jwt_secret="s" * 40)
    oauth_user(kalam, "ann")
    now = int(time.time())
    claims = {
        "iss": issuer.url,
        "sub": "ann",
        "iat": now,
        "exp": now + 60,
        "role": "user",
        "token_type": "access",
    }
    with pytest.raises(KalamError):
        kalam.auth.verify(jwt.encode(claims, "s" * 40, algorithm="HS256"))


def test_the_audience_counts_where_one_is_configured(make: Callable[..., Kalam], issuer: Issuer) -> None:
    kalam = make(oidc_audience="kalam")
    oauth_user(kalam, "ann")
    assert kalam.auth.verify(issuer.token(aud=["other", "kalam"])).user_id == "ann"
    for token in (issuer.token(aud="other"), issuer.token()):
        with pytest.raises(KalamError):
            kalam.auth.verify(token)


def test_new_subjects_become_users_where_that_is_configured(
    make: Callable[..., Kalam], issuer: Issuer
) -> None:
    kalam = make(oidc_auto_provision_role="user")
    root = Client(kalam, kalam.session("root"))
    assert kalam.auth.verify(issuer.token(sub="newcomer", email="n@corp.example")).role == "user"
    ((role, email, kind, data),) = root.rows(
        "SELECT role, email, auth_type, auth_data FROM system.users WHERE user_id = 'newcomer'"
    )
    assert (role, email, kind) == ("user", "n@corp.example", "OAuth")
    assert json.loads(data) == {"provider": issuer.url, "subject": "newcomer"}
    root.run("DROP USER newcomer")
    for subject in ("newcomer", "../etc", ""):  # dropped; no user id
        with pytest.raises(KalamError):
            kalam.auth.verify(issuer.token(sub=subject))


def test_a_discovery_document_of_another_issuer_is_not_believed(
    make: Callable[..., Kalam], issuer: Issuer
) -> None:
    issuer.said["issuer"] = "https://elsewhere.example"
    kalam = make()
    oauth_user(kalam, "ann")
    with pytest.raises(KalamError):
        kalam.auth.verify(issuer.token())


@pytest.mark.parametrize("url", ["http://issuer.example/keys", "file:///etc/passwd", "ftp://127.0.0.1/keys"])
def test_keys_come_over_https_or_from_this_machine(
    make: Callable[..., Kalam], issuer: Issuer, url: str
) -> None:
    issuer.said["jwks_uri"] = url
    kalam = make()
    oauth_user(kalam, "ann")
    with pytest.raises(KalamError):
        kalam.auth.verify(issuer.token())
