from __future__ import annotations

import re

from kalam_jupyter.magics.errors import SqlError, UsageError


def plain(error: SqlError) -> str:
    return re.sub(r"\x1b\[\d+m", "", "\n".join(error._render_traceback_()))


def test_the_token_is_marked():
    error = SqlError(
        "Source 'ORDRS' does not exist.",
        code="40001",
        cell="\nSELECT *\n\tFROM ordrs;",
        line=3,
        column=7,
        hint="Did you mean ORDERS?",
        title="ksqlDB error",
    )
    assert plain(error) == (
        "ksqlDB error at line 3, column 7 [40001]\n"
        "\n"
        "   3 │ \tFROM ordrs;\n"
        "     │ \t     ^^^^^\n"
        "\n"
        "Source 'ORDRS' does not exist.\n"
        "Did you mean ORDERS?"
    )
    assert str(error) == plain(error)


def test_without_a_position_only_the_message_is_shown():
    assert plain(SqlError("no", title="KalamDB error")) == "KalamDB error\nno"


def test_a_position_behind_the_text_still_has_a_mark():
    text = plain(SqlError("unexpected end", cell="SELECT", line=1, column=7))
    assert text.splitlines()[3] == "     │       ^"


def test_near_names_ignore_case():
    assert UsageError.near("ordrs", ["ORDERS", "USERS"]) == "Did you mean ORDERS?"
    assert UsageError.near("zzz", ["ORDERS"]) == ""
