"""Logins, tokens, roles and setup."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from pathlib import Path

import bcrypt
import jwt
import pytest

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import AuthError, Kalam, KalamError
from kalam_jupyter.kalam.passwords import Passwords
from tests.kalam.conftest import CONFIG, Client

PASSWORD = "Secret-1!"


def login(kalam: Kalam, user: str, password: str = PASSWORD, **options: bool) -> AuthError | str:
    try:
        return kalam.auth.login(user, password, **options).access_token
    except AuthError as error:
        return error


def test_login_gives_tokens_that_verify(root: Client, user: Callable[..., Client]) -> None:
    user("alice", "dba")
    result = root.kalam.auth.login("alice", PASSWORD)
    assert root.kalam.auth.verify(result.access_token).user_id == "alice"
    claims = jwt.decode(result.access_token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 24 * 3600
    assert {k: claims[k] for k in ("sub", "iss", "email", "role", "token_type")} == {
        "sub": "alice",
        "iss": "kalamdb",
        "email": None,
        "role": "dba",
        "token_type": "access",
    }
    shown = result.json()
    assert list(shown) == [
        "user",
        "admin_ui_access",
        "expires_at",
        "access_token",
        "refresh_token",
        "refresh_expires_at",
    ]
    assert shown["admin_ui_access"] is True
    assert shown["expires_at"].endswith("+00:00")


@pytest.mark.parametrize("who", ["alice", "nobody", ""])
def test_wrong_credentials_are_refused_alike(root: Client, user: Callable[..., Client], who: str) -> None:
    user("alice")
    error = login(root.kalam, who, "wrong")
    assert isinstance(error, AuthError)
    assert (error.code, error.status, error.message) == ("unauthorized", 401, "Invalid credentials")


def test_five_failures_lock_the_account_for_a_while(
    root: Client, user: Callable[..., Client], clock: Clock
) -> None:
    user("alice")
    for _ in range(5):
        login(root.kalam, "alice", "wrong")
    error = login(root.kalam, "alice")
    assert isinstance(error, AuthError)
    assert (error.code, error.message) == ("account_locked", "15 minute(s)")
    clock.advance(15 * 60_000)
    assert isinstance(login(root.kalam, "alice"), str)


class TestPasswords:
    @pytest.fixture
    def checks(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """The passwords that bcrypt was asked about."""
        asked: list[bytes] = []
        check = bcrypt.checkpw

        def spy(password: bytes, hashed: bytes) -> bool:
            asked.append(password)
            return check(password, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", spy)
        return asked

    def test_a_right_one_is_known_for_a_while(self, checks: list[bytes]) -> None:
        now = 100.0
        passwords = Passwords(4, 60, lambda: now)
        hashed = passwords.hash("right")
        assert passwords.check("right", hashed)
        assert passwords.check("right", hashed)
        assert checks == [b"right"]
        now += 60
        assert passwords.check("right", hashed)
        assert checks == [b"right", b"right"]

    def test_wrong_ones_and_nobodys_always_take_bcrypts_time(self, checks: list[bytes]) -> None:
        passwords = Passwords(4, 60)
        hashed = passwords.hash("right")
        passwords.check("right", hashed)
        for _ in range(2):
            assert not passwords.check("wrong", hashed)
            assert not passwords.check("right", None)
        assert checks == [b"right", b"wrong", b"right", b"wrong", b"right"]

    def test_what_is_known_fits_one_hash_only(self, checks: list[bytes]) -> None:
        passwords = Passwords(4, 60)
        old, new = passwords.hash("old"), passwords.hash("new")
        assert passwords.check("old", old)
        assert not passwords.check("old", new)
        assert passwords.check("new", new)
        assert checks == [b"old", b"old", b"new"]

    def test_nothing_is_known_when_switched_off(self, checks: list[bytes]) -> None:
        passwords = Passwords(4, 0)
        hashed = passwords.hash("right")
        assert passwords.check("right", hashed)
        assert passwords.check("right", hashed)
        assert checks == [b"right", b"right"]


def test_a_known_password_opens_no_locked_account(root: Client, user: Callable[..., Client]) -> None:
    user("alice")
    assert isinstance(login(root.kalam, "alice"), str)
    for _ in range(5):
        login(root.kalam, "alice", "wrong")
    error = login(root.kalam, "alice")
    assert isinstance(error, AuthError)
    assert error.code == "account_locked"


def test_a_changed_password_is_forgotten(root: Client, user: Callable[..., Client]) -> None:
    user("alice")
    assert isinstance(login(root.kalam, "alice"), str)
    root.run("ALTER USER 'alice' SET PASSWORD 'Another123!'")
    assert isinstance(login(root.kalam, "alice"), AuthError)
    assert isinstance(login(root.kalam, "alice", "Another123!"), str)


def test_changed_role_makes_older_tokens_worthless(root: Client, user: Callable[..., Client]) -> None:
    user("alice")
    token = root.kalam.auth.login("alice", PASSWORD)
    root.kalam.auth.verify(token.access_token)
    root.run("ALTER USER alice SET ROLE service")
    with pytest.raises(KalamError, match="Invalid credentials"):
        root.kalam.auth.verify(token.access_token)
    with pytest.raises(AuthError, match="Token role does not match user role"):
        root.kalam.auth.refresh(token.refresh_token)


def test_dropped_user_is_out(root: Client, user: Callable[..., Client]) -> None:
    user("alice")
    token = root.kalam.auth.login("alice", PASSWORD)
    assert root.say("DROP USER 'alice'") == "User 'alice' dropped (soft delete)"
    with pytest.raises(KalamError):
        root.kalam.auth.verify(token.access_token)
    assert isinstance(login(root.kalam, "alice"), AuthError)
    assert root.error("DROP USER alice").message == "Statement 1 failed: Not found: User 'alice' not found"
    assert root.say("DROP USER IF EXISTS alice") == "User 'alice' does not exist (skipped)"


def test_a_dropped_users_name_can_be_used_again_but_not_with_the_tokens_from_before(
    root: Client, user: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    user("alice")
    old = root.kalam.auth.login("alice", PASSWORD)
    root.run("DROP USER alice")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2)
    monkeypatch.setattr(time, "time_ns", lambda: int((now + 2) * 1e9))
    assert root.say("CREATE USER alice WITH PASSWORD 'Another123!' ROLE user") == "User 'alice' created"
    assert root.rows("SELECT deleted_at FROM system.users WHERE user_id = 'alice'") == [(None,)]
    with pytest.raises(KalamError, match="Invalid credentials"):
        root.kalam.auth.verify(old.access_token)
    with pytest.raises(AuthError, match="User no longer valid"):
        root.kalam.auth.refresh(old.refresh_token)
    assert isinstance(login(root.kalam, "alice"), AuthError)
    tokens = root.kalam.auth.login("alice", "Another123!")
    assert root.kalam.auth.verify(tokens.access_token).user_id == "alice"


def test_a_preset_password_is_given_to_a_root_without_one() -> None:
    engine = Engine.open()
    Kalam(engine, CONFIG.with_(root_password=None)).close()
    kalam = Kalam(engine, CONFIG.with_(root_password="RootPass123!"))
    assert not kalam.auth.needs_setup()
    assert kalam.auth.login("root", "RootPass123!").user.id == "root"
    kalam.close()
    Kalam(engine, CONFIG.with_(root_password="Another123!")).close()
    assert isinstance(login(Kalam(engine, CONFIG), "root", "Another123!"), AuthError)


def test_refresh_token_is_no_access_token_and_the_other_way(
    root: Client, user: Callable[..., Client]
) -> None:
    user("alice")
    tokens = root.kalam.auth.login("alice", PASSWORD)
    with pytest.raises(KalamError):
        root.kalam.auth.verify(tokens.refresh_token)
    with pytest.raises(AuthError, match="requires a refresh token"):
        root.kalam.auth.refresh(tokens.access_token)
    assert root.kalam.auth.refresh(tokens.refresh_token).user.id == "alice"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"exp": 1}, "TOKEN_EXPIRED"),
        ({"iss": "someone"}, "INVALID_CREDENTIALS"),
        ({"token_type": None}, "INVALID_CREDENTIALS"),
        ({"role": "dba"}, "INVALID_CREDENTIALS"),
        ({"sub": "ghost"}, "INVALID_CREDENTIALS"),
    ],
)
def test_bad_claims(engine: Engine, change: dict[str, object], code: str) -> None:
    kalam = Kalam(engine, CONFIG.with_(jwt_secret="s" * 40))
    now = int(time.time())
    claims = {
        "sub": "root",
        "iss": "kalamdb",
        "iat": now,
        "exp": now + 60,
        "role": "system",
        "token_type": "access",
    }
    assert kalam.auth.verify(jwt.encode(claims, "s" * 40)).role == "system"
    with pytest.raises(KalamError) as caught:
        kalam.auth.verify(jwt.encode({**claims, **change}, "s" * 40))
    assert caught.value.code == code


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_other_algorithms_are_refused(engine: Engine, algorithm: str) -> None:
    kalam = Kalam(engine, CONFIG.with_(jwt_secret="s" * 64))
    now = int(time.time())
    claims = {
        "sub": "root",
        "iss": "kalamdb",
        "iat": now,
        "exp": now + 60,
        "role": "system",
        "token_type": "access",
    }
    token = jwt.encode(claims, None if algorithm == "none" else "s" * 64, algorithm=algorithm)
    with pytest.raises(KalamError) as caught:
        kalam.auth.verify(token)
    assert caught.value.code == "INVALID_CREDENTIALS"


def test_setup_configures_root_once(kalam: Kalam) -> None:
    assert kalam.auth.status()["needs_setup"] is True
    error = login(kalam, "root", "")
    assert isinstance(error, AuthError) and (error.code, error.status) == ("setup_required", 428)
    for user, password, root, code in [
        ("admin", "short", "RootPass123!", "weak_password"),
        ("admin", "Admin123!", "password", "weak_password"),
        ("root", "Admin123!", "RootPass123!", "invalid_user"),
        ("a/../b", "Admin123!", "RootPass123!", "invalid_user"),
    ]:
        with pytest.raises(AuthError) as caught:
            kalam.auth.setup(user, password, root)
        assert caught.value.code == code
    assert kalam.auth.setup("admin", "Admin123!", "RootPass123!").role == "dba"
    assert kalam.auth.status() == {"needs_setup": False, "message": "Server is configured and ready."}
    assert isinstance(login(kalam, "root", "RootPass123!"), str)
    with pytest.raises(AuthError) as caught:
        kalam.auth.setup("other", "Admin123!", "RootPass123!")
    assert caught.value.code == "already_configured"


def test_user_statements(root: Client) -> None:
    assert root.say("CREATE USER bob WITH PASSWORD 'a' ROLE 'developer' EMAIL 'b@x'") == "User 'bob' created"
    rows = root.rows("SELECT role, email, auth_type FROM system.users WHERE user_id = 'bob'")
    assert rows == [("service", "b@x", "Password")]
    assert "User 'bob' already exists" in root.error("CREATE USER bob WITH PASSWORD 'a' ROLE user").message
    assert "Hint: Valid roles" in root.error("CREATE USER c WITH PASSWORD 'a' ROLE boss").message
    assert (
        "requires 'subject' field"
        in root.error("""CREATE USER c WITH OAUTH '{"provider":"google"}' ROLE user""").message
    )
    assert root.say("ALTER USER bob SET PASSWORD 'New-pass-1'") == "User 'bob' updated"
    assert isinstance(login(root.kalam, "bob", "New-pass-1"), str)


def test_ordinary_users_manage_no_users(user: Callable[..., Client]) -> None:
    alice = user("alice")
    assert alice.error("CREATE USER x WITH PASSWORD 'a' ROLE user").message == (
        "Admin privileges (DBA or System role) required for user management"
    )
    error = alice.error("ALTER USER alice SET PASSWORD 'b'")
    assert (error.status, error.message) == (
        403,
        "Statement 1 failed: Unauthorized: ALTER USER requires DBA or System role",
    )


def test_dba_cannot_grant_system_nor_touch_a_system_user(user: Callable[..., Client]) -> None:
    dba = user("dora", "dba")
    assert "DBA cannot grant System role" in dba.error("ALTER USER dora SET ROLE system").message
    assert dba.error("CREATE USER x WITH PASSWORD 'a' ROLE system").status == 403
    assert dba.error("ALTER USER root SET PASSWORD 'mine-now-1'").status == 403


def test_secret_is_kept_in_a_private_file(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data") as engine:
        token = Kalam(engine, CONFIG).auth.issue("root").access_token
    with Engine.open(tmp_path / "data") as engine:
        assert Kalam(engine, CONFIG).auth.verify(token).user_id == "root"
    (secret,) = [p for p in (tmp_path / "data").iterdir() if "secret" in p.name]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("CREATE NAMESPACE", "namespace operations"),
        ("ALTER NAMESPACE app SET DESCRIPTION 'x'", "namespace operations"),
        ("DROP NAMESPACE IF", "namespace operations"),
        ("CREATE SCHEMA IF", "namespace operations"),
        ("CREATE STORAGE s TYPE ftp", "storage operations"),
        ("STORAGE CHECK", "storage operations"),
        ("CREATE USER x", "user management"),
        ("DROP USER", "user management"),
        ("CREATE TOPIC", "topic management"),
        ("ALTER TOPIC t ADD", "topic management"),
        ("CLEAR TOPIC", "topic management"),
        ("KILL JOB", "job management"),
        ("BACKUP DATABASE app TO 'x'", "backup operations"),
        ("RESTORE", "restore operations"),
        ("CLUSTER LIST", "cluster operations"),
        ("SHOW ALL", "SHOW ALL"),
        ("SHOW COLUMNS FROM app.t", "SHOW COLUMNS"),
        ("DESC app.t", "DESC"),
        ("EXPLAIN", "EXPLAIN commands"),
        ("SET x = 1", "SET commands"),
    ],
)
def test_the_gate_stands_before_the_grammar(user: Callable[..., Client], sql: str, what: str) -> None:
    for role in ("user", "service"):
        error = user(f"a_{role}", role).error(f"SELECT 1; {sql}")
        assert (error.code, error.status) == ("PERMISSION_DENIED", 403)
        assert error.message == f"Admin privileges (DBA or System role) required for {what}"


def test_other_mistakes_are_told_as_mistakes(user: Callable[..., Client]) -> None:
    alice = user("alice")
    for sql in ("CREATE USER TABLE", "DROP USER TABLE", "SET NAMESPACE", "STORAGE", "CREATE", "KILL 'x"):
        assert alice.error(sql).code == "INVALID_SQL"
    assert user("boss", "dba").error("CREATE NAMESPACE").code == "INVALID_SQL"
