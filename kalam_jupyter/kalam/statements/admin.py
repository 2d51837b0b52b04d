"""Parsers of users, storages, jobs, topics, SHOW and DESCRIBE."""

from __future__ import annotations

from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.expressions import parse_expression
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.stream import TokenStream
from kalam_jupyter.kalam.tokens import STRING

ROLES = {
    **dict.fromkeys(("dba", "admin"), "dba"),
    **dict.fromkeys(("service", "developer", "analyst"), "service"),
    **dict.fromkeys(("user", "viewer", "readonly"), "user"),
    "system": "system",
}


def role_word(word: str) -> str:
    """Return the role a word stands for."""
    role = ROLES.get(word.lower())
    if role is None:
        raise StatementError(
            "invalid_operation", f"Invalid role '{word}'. Hint: Valid roles: {', '.join(sorted(ROLES))}"
        )
    return role


# ---- users -------------------------------------------------------------------------------------------------


def create_user(s: TokenStream) -> nodes.Statement:
    """``CREATE USER n WITH PASSWORD|OAUTH|INTERNAL [secret] ROLE r [EMAIL e]``."""
    user = s.raw_word("user name")
    s.expect_word("WITH")
    word = s.accept_any("PASSWORD", "OAUTH", "INTERNAL")
    if word is None:
        raise s.error(f"Expected: PASSWORD, OAUTH or INTERNAL, found: {s.found()}")
    secret: str | None = None
    if word == "PASSWORD":
        secret = s.string("password")
    elif word == "OAUTH" and s.current.kind == STRING:
        secret = s.string()
    role = email = None
    while not s.at_end():
        if s.accept_word("ROLE"):
            role = role_word(s.raw_word("role"))
        elif s.accept_word("EMAIL"):
            email = s.string("email")
        else:
            raise s.error(f"Expected: ROLE or EMAIL, found: {s.found()}")
    if role is None:
        raise s.error("Expected: ROLE, found: end of statement")
    return nodes.CreateUser(
        user, {"PASSWORD": "Password", "OAUTH": "OAuth", "INTERNAL": "Internal"}[word], secret, role, email
    )


def alter_user(s: TokenStream) -> nodes.Statement:
    """``ALTER USER n SET PASSWORD|ROLE|EMAIL value``."""
    user = s.raw_word("user name")
    s.expect_word("SET")
    word = s.accept_any("PASSWORD", "ROLE", "EMAIL")
    if word is None:
        raise s.error(f"Expected: PASSWORD, ROLE or EMAIL, found: {s.found()}")
    value = role_word(s.raw_word("role")) if word == "ROLE" else s.string(word.lower())
    s.expect_end()
    return nodes.AlterUser(user, word.lower(), value)


def drop_user(s: TokenStream) -> nodes.Statement:
    """``DROP USER [IF EXISTS] n``."""
    quiet = s.accept_word("IF", "EXISTS")
    user = s.raw_word("user name")
    s.expect_end()
    return nodes.DropUser(user, quiet)


# ---- storages and maintenance ------------------------------------------------------------------------------

_STORAGE_OPTIONS = (
    "NAME",
    "DESCRIPTION",
    "PATH",
    "BASE_DIRECTORY",
    "BUCKET",
    "REGION",
    "SHARED_TABLES_TEMPLATE",
    "USER_TABLES_TEMPLATE",
    "CREDENTIALS",
    "CONFIG",
)
STORAGE_TYPES = ("filesystem", "s3", "gcs", "azure")
#: The schemes of their URLs name two of them as well.
_SCHEMES = {"gs": "gcs", "az": "azure"}


def create_storage(s: TokenStream) -> nodes.Statement:
    """``CREATE STORAGE id TYPE t [OPTION 'value'] ...``."""
    storage = s.raw_word("storage id")
    s.expect_word("TYPE")
    kind = s.raw_word("storage type").lower()
    kind = _SCHEMES.get(kind, kind)
    if kind not in STORAGE_TYPES:
        raise StatementError(
            "invalid_operation", f"Invalid storage type '{kind}'. Supported: {', '.join(STORAGE_TYPES)}"
        )
    options: dict[str, str] = {}
    while not s.at_end():
        word = s.accept_any(*_STORAGE_OPTIONS)
        if word is None:
            raise s.error(f"Expected: a storage option, found: {s.found()}")
        options["path" if word == "BASE_DIRECTORY" else word.lower()] = s.string(f"value of {word}")
    return nodes.CreateStorage(storage, kind, options)


def alter_storage(s: TokenStream) -> nodes.Statement:
    """``ALTER STORAGE id SET OPTION 'value' [SET ...]``."""
    storage = s.raw_word("storage id")
    options: dict[str, str] = {}
    s.expect_word("SET")
    while True:
        word = s.accept_any("NAME", "DESCRIPTION", "SHARED_TABLES_TEMPLATE", "USER_TABLES_TEMPLATE", "CONFIG")
        if word is None:
            raise s.error(f"Expected: a storage option, found: {s.found()}")
        options[word.lower()] = s.string(f"value of {word}")
        s.accept_op(",")
        if not s.accept_word("SET") and s.at_end():
            return nodes.AlterStorage(storage, options)


def drop_storage(s: TokenStream) -> nodes.Statement:
    """``DROP STORAGE [IF EXISTS] id``."""
    quiet = s.accept_word("IF", "EXISTS")
    storage = s.raw_word("storage id")
    s.expect_end()
    return nodes.DropStorage(storage, quiet)


def storage_command(s: TokenStream) -> nodes.Statement:
    """``STORAGE CHECK | FLUSH | COMPACT ...``."""
    if s.accept_word("CHECK"):
        storage = s.raw_word("storage id")
        extended = s.accept_word("EXTENDED")
        s.expect_end()
        return nodes.CheckStorage(storage, extended)
    what = s.accept_any("FLUSH", "COMPACT")
    if what is None:
        raise s.error(f"Expected: CHECK, FLUSH or COMPACT, found: {s.found()}")
    if s.accept_word("TABLE"):
        table = s.name()
        if table[0] is None:
            raise s.error(f"STORAGE {what} TABLE needs a qualified name: <namespace>.<table>")
        s.expect_end()
        return nodes.Maintain(what.lower(), table)
    s.expect_word("ALL")
    namespace = None
    if s.accept_word("IN"):
        if s.at_word("NAMESPACE") and s.peek().kind != "end":
            s.advance()
        namespace = s.raw_word("namespace name").lower()
    s.expect_end()
    return nodes.Maintain(what.lower(), None, namespace)


def kill(s: TokenStream) -> nodes.Statement:
    """``KILL JOB 'id' | KILL LIVE QUERY 'id'``."""
    if s.accept_word("JOB"):
        target = s.raw_word("job id")
        s.expect_end()
        return nodes.KillJob(target)
    s.expect_word("LIVE", "QUERY")
    target = s.raw_word("live query id")
    s.expect_end()
    return nodes.KillLiveQuery(target)


def backup(s: TokenStream) -> nodes.Statement:
    """``BACKUP DATABASE TO 'path'``."""
    s.expect_word("DATABASE", "TO")
    path = s.string("path")
    s.expect_end()
    return nodes.Backup(path)


def restore(s: TokenStream) -> nodes.Statement:
    """``RESTORE DATABASE FROM 'dir'``."""
    s.expect_word("DATABASE", "FROM")
    path = s.string("path")
    s.expect_end()
    return nodes.Restore(path)


def export_user_data(s: TokenStream) -> nodes.Statement:
    """``EXPORT USER DATA``."""
    s.expect_word("USER", "DATA")
    s.expect_end()
    return nodes.ExportUserData()


_CLUSTER = {
    "SNAPSHOT",
    "PURGE",
    "TRIGGER",
    "TRANSFER",
    "STEPDOWN",
    "REBALANCE",
    "JOIN",
    "CLEAR",
    "LEAVE",
}


def cluster(s: TokenStream) -> nodes.Statement:
    """``CLUSTER <action>``."""
    word = s.advance().text.upper()
    word = {"STEP": "STEPDOWN"}.get(word, word)  # of STEP-DOWN
    if word in ("LIST", "STATUS", "LS"):
        raise StatementError(
            "invalid_operation",
            f"CLUSTER {word} is a CLI-only command. Query system.cluster for the same information.",
        )
    if word not in _CLUSTER:
        raise s.error(
            "Expected: SNAPSHOT, PURGE, TRIGGER ELECTION, TRANSFER LEADER, STEPDOWN, REBALANCE, JOIN or CLEAR"
        )
    number: int | None = None
    while not s.at_end():
        token = s.advance()
        if token.kind == "number" and token.text.isdigit():
            number = int(token.text)
    if word in ("JOIN", "LEAVE", "TRANSFER") and number is None:
        raise StatementError("invalid_operation", f"CLUSTER {word} needs a node id")
    return nodes.Cluster(word.lower(), number)


# ---- topics ------------------------------------------------------------------------------------------------


def create_topic(s: TokenStream) -> nodes.Statement:
    """``CREATE TOPIC ns.name [PARTITIONS n]``."""
    name = s.raw_word("topic name")
    partitions = s.integer("partition count") if s.accept_word("PARTITIONS") else 1
    s.expect_end()
    if partitions < 1:
        raise StatementError("invalid_operation", "A topic needs at least one partition")
    return nodes.CreateTopic(name, partitions)


def drop_topic(s: TokenStream) -> nodes.Statement:
    """``DROP TOPIC t``."""
    name = s.raw_word("topic name")
    s.expect_end()
    return nodes.DropTopic(name)


def clear_topic(s: TokenStream) -> nodes.Statement:
    """``CLEAR TOPIC t``."""
    name = s.raw_word("topic name")
    s.expect_end()
    return nodes.ClearTopic(name)


def alter_topic(s: TokenStream) -> nodes.Statement:
    """``ALTER TOPIC t ADD SOURCE [ns.]table ON op [WHERE expr] [WITH (payload = mode)]``."""
    topic = s.raw_word("topic name")
    s.expect_word("ADD", "SOURCE")
    table = s.name()
    s.expect_word("ON")
    operation = s.accept_any("INSERT", "UPDATE", "DELETE")
    if operation is None:
        raise s.error(f"Expected: INSERT, UPDATE or DELETE, found: {s.found()}")
    where: str | None = None
    if s.accept_word("WHERE"):
        start = s.current.start
        parse_expression(s)
        where = s.sql[start : s.tokens[s.i - 1].end]
    payload = "full"
    if s.accept_word("WITH"):
        s.expect_op("(")
        s.expect_word("PAYLOAD")
        s.expect_op("=")
        payload = s.raw_word("payload mode").lower()
        s.expect_op(")")
        if payload not in ("key", "full", "diff"):
            raise StatementError(
                "invalid_operation", f"Invalid payload mode '{payload}'. Supported: key, full, diff"
            )
    s.expect_end()
    return nodes.AddSource(topic, table, operation.lower(), where, payload)


def consume(s: TokenStream) -> nodes.Statement:
    """``CONSUME FROM t [GROUP 'g'] [FROM EARLIEST|LATEST|n] [LIMIT n]``; unknown trailing words are
    ignored."""
    s.expect_word("FROM")
    topic = s.raw_word("topic name")
    group: str | None = None
    start: str | int = "latest"
    limit = 100
    while not s.at_end():
        if s.accept_word("GROUP"):
            group = s.raw_word("group name")
        elif s.accept_word("FROM"):
            word = s.accept_any("EARLIEST", "LATEST")
            start = word.lower() if word else s.integer("EARLIEST, LATEST or an offset")
        elif s.accept_word("LIMIT"):
            limit = s.integer("limit")
        else:
            s.advance()
    return nodes.Consume(topic, group, start, limit)


def ack(s: TokenStream) -> nodes.Statement:
    """``ACK t GROUP 'g' [PARTITION p] UPTO OFFSET n``."""
    topic = s.raw_word("topic name")
    s.expect_word("GROUP")
    group = s.raw_word("group name")
    partition = s.integer("partition") if s.accept_word("PARTITION") else 0
    s.expect_word("UPTO", "OFFSET")
    offset = s.integer("offset")
    s.expect_end()
    return nodes.Ack(topic, group, partition, offset)


# ---- SHOW, DESCRIBE ----------------------------------------------------------------------------------------


def show(s: TokenStream) -> nodes.Statement:
    """``SHOW NAMESPACES | TABLES | STORAGES | STATS | MANIFEST | EXPORT``, or the query engine's SHOW."""
    word = s.accept_any("NAMESPACES", "TABLES", "STORAGES", "MANIFEST", "EXPORT")
    if word == "TABLES" and s.accept_word("IN"):
        if s.at_word("NAMESPACE") and s.peek().kind != "end":
            s.advance()
        namespace = s.raw_word("namespace name").lower()
        s.expect_end()
        return nodes.Show("tables", namespace)
    if word is not None:
        s.expect_end()
        return nodes.Show(word.lower())
    if s.accept_word("STATS"):
        s.accept_word("FOR", "TABLE")
        table = s.name()
        s.expect_end()
        return nodes.ShowStats(table)
    if s.at_word("ALL") or s.at_word("COLUMNS"):
        return nodes.EngineCommand(s.sql, what=f"SHOW {s.current.text}")
    raise s.error(f"Unsupported statement type: SHOW {s.found()}")


def describe(s: TokenStream) -> nodes.Statement:
    """``DESCRIBE TABLE [ns.]t [HISTORY]``; without TABLE it is the query engine's."""
    if s.at_word("TABLE") and s.peek().kind != "end":
        s.advance()
        table = s.name()
        history = s.accept_word("HISTORY")
        s.expect_end()
        return nodes.DescribeTable(table, history)
    return nodes.EngineCommand(s.sql, what=s.tokens[0].text)
