"""Which passwords are too weak (HTTP contract section 3.3)."""

from __future__ import annotations

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
