"""Passwords: which are too weak (HTTP contract section 3.3), their hashes, and whether one is right."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import bcrypt

COMMON = frozenset(
    [
        *("password", "123456", "12345678", "qwerty", "abc123", "monkey", "1234567", "letmein", "trustno1"),
        *("dragon", "baseball", "iloveyou", "master", "sunshine", "ashley", "bailey", "passw0rd", "shadow"),
        *("123123", "654321", "superman", "qazwsx", "michael", "football"),
    ]
)


def password_problem(password: str, *, complexity: bool) -> str | None:
    """Return why a password is too weak, or None."""
    size = len(password.encode())
    if size < 8:
        return "Password must be at least 8 characters (weak)"
    if size > 72:
        return "Password must be at most 72 characters (bcrypt limit, weak)"
    if password in COMMON:
        return "Password is too common"
    if complexity:
        needs = (
            (str.isupper, "uppercase letter"),
            (str.islower, "lowercase letter"),
            (str.isdigit, "digit"),
            (lambda c: not c.isalnum(), "special character"),
        )
        for test, what in needs:
            if not any(test(c) for c in password):
                return f"Password must include at least one {what}"
    return None


class Passwords:
    """Makes bcrypt hashes, and checks passwords against them.

    bcrypt takes its time on purpose: a quarter of a second at cost 12. A password that was right is
    therefore known for a while without it, by a keyed hash of it and of the bcrypt hash it fits. The key is
    random and lives in this process only, like what is kept; so a changed password is not known any more,
    and a wrong one always takes bcrypt's time.

    Parameters
    ----------
    cost : int
    remember : float
        Seconds for which a right password is known; 0 for none.
    clock : callable
        Seconds, monotonic.
    """

    MOST = 4096

    def __init__(self, cost: int, remember: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cost, self._remember, self._clock = cost, remember, clock
        self._key = secrets.token_bytes(32)
        self._lock = Lock()
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._nobodys: str | None = None

    def hash(self, password: str) -> str:
        """Return the bcrypt hash of a password (bytes beyond 72 do not count, as bcrypt has it)."""
        return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(self._cost)).decode()

    def check(self, password: str, hashed: str | None) -> bool:
        """Return whether a password fits a hash; None fits nothing, and takes as long."""
        if hashed is None:
            if self._nobodys is None:
                self._nobodys = self.hash("nobody")
            bcrypt.checkpw(password.encode()[:72], self._nobodys.encode())
            return False
        known = hmac.digest(self._key, b"%b\0%b" % (hashed.encode(), password.encode()[:72]), "sha256")
        if self._right.get(known, 0.0) > self._clock():
            return True
        if not bcrypt.checkpw(password.encode()[:72], hashed.encode()):
            return False
        if self._remember:
            with self._lock:
                self._right[known] = self._clock() + self._remember
                self._right.move_to_end(known)
                while len(self._right) > self.MOST:
                    self._right.popitem(last=False)
        return True
