"""Schema registry: subjects, versions and ids of the schemas of topics.

Vocabulary
----------
subject
    ``<topic>-key`` or ``<topic>-value``: the versions of the schema of one side of one topic.
id
    Number of a schema, the same in every subject that has it; records carry it.
reference
    A schema that another one imports: its name there, and the subject and version it is found under.

`EmbeddedRegistry` keeps everything in the engine's catalogue; `RemoteRegistry` talks to a registry server.
"""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.compatibility import (
    COMPATIBILITY_LEVELS,
    DEFAULT_COMPATIBILITY,
    IncompatibleSchemaError,
    faults,
)

if TYPE_CHECKING:
    from kalam_jupyter.engine.engine import Engine
    from kalam_jupyter.engine.transaction import Transaction

SCHEMA_KIND = "ksql.schema"
SUBJECT_KIND = "ksql.subject"
SETTINGS_KIND = "ksql.schema_registry"
REQUEST_SECONDS = 10.0


@dataclass(frozen=True)
class Reference:
    """A schema that another one imports."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema.

    Attributes
    ----------
    type : str
        ``AVRO``, ``JSON`` or ``PROTOBUF``.
    text : str
    references : tuple of Reference
    """

    type: str
    text: str
    references: tuple[Reference, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return the schema as the registry's API writes it."""
        data: dict[str, Any] = {"schema": self.text}
        if self.type != "AVRO":
            data["schemaType"] = self.type
        if self.references:
            data["references"] = [vars(r) for r in self.references]
        return data

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> RegisteredSchema:
        """Return the schema that `to_data` wrote."""
        references = tuple(
            Reference(r["name"], r["subject"], r["version"]) for r in data.get("references") or ()
        )
        return cls(data.get("schemaType") or "AVRO", data["schema"], references)


@dataclass(frozen=True)
class Version:
    """One version of a subject."""

    subject: str
    version: int
    id: int
    schema: RegisteredSchema


class SchemaNotFoundError(KsqlError):
    """The registry has no such schema, subject or version."""


class SchemaRegistry(Protocol):
    """What formats and statements need of a registry."""

    def schema(self, schema_id: int) -> RegisteredSchema:
        """Return a schema by its id; `SchemaNotFoundError` if there is none."""

    def subjects(self) -> list[str]:
        """Return the names of all subjects, sorted."""

    def versions(self, subject: str) -> list[int]:
        """Return the versions of a subject; `SchemaNotFoundError` if there is none."""

    def version(self, subject: str, version: int | None = None) -> Version:
        """Return one version of a subject, the latest by default; `SchemaNotFoundError` if there is none."""

    def register(self, subject: str, schema: RegisteredSchema) -> int:
        """Add a schema to a subject, unless it is there already; return its id."""

    def delete_subject(self, subject: str) -> list[int]:
        """Forget a subject; return its versions."""


def referenced(registry: SchemaRegistry, schema: RegisteredSchema) -> dict[str, str]:
    """Return the text of every schema that `schema` imports, by the name it is imported as."""
    found: dict[str, str] = {}
    for reference in schema.references:
        imported = registry.version(reference.subject, reference.version).schema
        found[reference.name] = imported.text
        found |= referenced(registry, imported)
    return found


class EmbeddedRegistry:
    """A registry in the engine's catalogue.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def schema(self, schema_id: int) -> RegisteredSchema:
        """Return a schema by its id; `SchemaNotFoundError` if there is none."""
        data = self._engine.catalogue.get(SCHEMA_KIND, str(schema_id))
        if data is None:
            raise SchemaNotFoundError(f"Schema {schema_id} not found")
        return RegisteredSchema.from_data(data)

    def subjects(self) -> list[str]:
        """Return the names of all subjects, sorted."""
        return sorted(self._engine.catalogue.names(SUBJECT_KIND))

    def versions(self, subject: str) -> list[int]:
        """Return the versions of a subject; `SchemaNotFoundError` if there is none."""
        return [version for version, _ in self._versions(subject)]

    def version(self, subject: str, version: int | None = None) -> Version:
        """Return one version of a subject, the latest by default; `SchemaNotFoundError` if there is none."""
        for number, schema_id in reversed(self._versions(subject)):
            if version is None or version == number:
                return Version(subject, number, schema_id, self.schema(schema_id))
        raise SchemaNotFoundError(f"Version {version} not found")

    def _versions(self, subject: str) -> list[tuple[int, int]]:
        data = self._engine.catalogue.get(SUBJECT_KIND, subject)
        if data is None:
            raise SchemaNotFoundError(f"Subject '{subject}' not found.")
        return [(v["version"], v["id"]) for v in data["versions"]]

    def register(
        self,
        subject: str,
        schema: RegisteredSchema,
        *,
        schema_id: int | None = None,
        tx: Transaction | None = None,
        strict: bool = False,
    ) -> int:
        """Add a schema to a subject, unless it is there already; return its id.

        Parameters
        ----------
        subject : str
        schema : RegisteredSchema
        schema_id : int, optional
            The id to give it (what a registry in import mode does); the next free one by default.
        tx : Transaction, optional
            The transaction that this is part of; one of its own by default.
        strict : bool
            Judge as Confluent's registry does. Otherwise, for statements, the subject is judged only if
            somebody set a level, for it or for all, and a JSON schema may gain properties though it admits
            others: by the strict rule ALTER .. ADD COLUMN could never work.

        Raises
        ------
        IncompatibleSchemaError
            If the subject's compatibility level does not allow it. A given id is not judged.
        """
        if tx is None:
            return self._engine.transact(
                lambda tx: self.register(subject, schema, schema_id=schema_id, tx=tx, strict=strict)
            )
        if schema_id is None:
            self.check_compatible(subject, schema, strict=strict)
        data = schema.to_data()
        wanted = _canonical(data)
        catalogue = self._engine.catalogue
        known = {int(name): value for name, value in catalogue.items(SCHEMA_KIND)}
        same = next((i for i, d in sorted(known.items()) if _canonical(d) == wanted), None)
        if schema_id is None:
            schema_id = same if same is not None else max(known, default=0) + 1
        elif schema_id in known and _canonical(known[schema_id]) != wanted:
            raise KsqlError(f"Schema id {schema_id} is taken by another schema")
        if schema_id not in known:
            tx.put(SCHEMA_KIND, str(schema_id), data)
        versions = (tx.get(SUBJECT_KIND, subject) or {"versions": []})["versions"]
        if not any(v["id"] == schema_id for v in versions):
            number = max((v["version"] for v in versions), default=0) + 1
            tx.put(SUBJECT_KIND, subject, {"versions": [*versions, {"version": number, "id": schema_id}]})
        return schema_id

    def delete_subject(self, subject: str, *, tx: Transaction | None = None) -> list[int]:
        """Forget a subject; return its versions. Its schemas stay, since records carry their ids."""
        if tx is None:
            return self._engine.transact(lambda tx: self.delete_subject(subject, tx=tx))
        versions = self.versions(subject)
        tx.remove(SUBJECT_KIND, subject)
        return versions

    def check_compatible(self, subject: str, schema: RegisteredSchema, *, strict: bool = False) -> None:
        """Refuse a schema that its subject's compatibility level does not allow; see `register`."""
        settings = self._engine.catalogue.get(SETTINGS_KIND, "compatibility") or {}
        if not strict and not settings.keys() & {"", subject}:
            return
        found = self.incompatibilities(subject, schema, strict=strict)
        if found:
            raise IncompatibleSchemaError(
                "Schema being registered is incompatible with an earlier schema for subject "
                f'"{subject}", details: [{"; ".join(found)}] (compatibility level '
                f"{self.compatibility(subject)})"
            )

    def incompatibilities(
        self, subject: str, schema: RegisteredSchema, version: int | None = None, *, strict: bool = True
    ) -> list[str]:
        """Return why a subject does not take a schema, as its level asks, or because of one `version`."""
        if self._engine.catalogue.get(SUBJECT_KIND, subject) is None:
            return []
        known = [self.schema(i) for n, i in self._versions(subject) if version in (None, n)]
        if any(_canonical(k.to_data()) == _canonical(schema.to_data()) for k in known):
            return []
        return faults(self.compatibility(subject), schema, known, self, lenient=not strict)

    def compatibility(self, subject: str | None = None) -> str:
        """Return the compatibility level of a subject, or the default one."""
        settings = self._engine.catalogue.get(SETTINGS_KIND, "compatibility") or {}
        default: str = settings.get("", DEFAULT_COMPATIBILITY)
        return default if subject is None else settings.get(subject, default)

    def set_compatibility(self, level: str, subject: str | None = None) -> None:
        """Keep a compatibility level: versions that are registered from now on are judged by it.

        Raises
        ------
        KsqlError
            If there is no such level.
        """
        if level.upper() not in COMPATIBILITY_LEVELS:
            raise KsqlError(
                f"Invalid compatibility level. Valid values are {', '.join(COMPATIBILITY_LEVELS)}"
            )

        def change(tx: Transaction) -> None:
            settings = tx.get(SETTINGS_KIND, "compatibility") or {}
            tx.put(SETTINGS_KIND, "compatibility", {**settings, subject or "": level.upper()})

        self._engine.transact(change)

    def forget_compatibility(self, subject: str) -> str:
        """Let a subject have the default level again; return the one it had."""
        before = self.compatibility(subject)

        def change(tx: Transaction) -> None:
            settings = tx.get(SETTINGS_KIND, "compatibility") or {}
            tx.put(SETTINGS_KIND, "compatibility", {k: v for k, v in settings.items() if k != subject})

        self._engine.transact(change)
        return before


def _canonical(data: dict[str, Any]) -> str:
    """Return what two equal schemas have in common: the blanks of JSON do not count."""
    text = data["schema"]
    if data.get("schemaType", "AVRO") != "PROTOBUF":
        with contextlib.suppress(ValueError):
            text = json.dumps(json.loads(text))
    return json.dumps([data.get("schemaType", "AVRO"), text, data.get("references") or []])


class RemoteRegistry:
    """A registry server, by its address (``ksql.schema.registry.url``).

    Parameters
    ----------
    url : str
    """

    def __init__(self, url: str) -> None:
        if not url.lower().startswith(("http://", "https://")):
            raise KsqlError(f"Not the address of a schema registry: {url}")
        self._url = url.rstrip("/")
        self._schemas: dict[int, RegisteredSchema] = {}

    def schema(self, schema_id: int) -> RegisteredSchema:
        """Return a schema by its id; `SchemaNotFoundError` if there is none."""
        if schema_id not in self._schemas:
            self._schemas[schema_id] = RegisteredSchema.from_data(
                self._call("GET", f"schemas/ids/{schema_id}")
            )
        return self._schemas[schema_id]

    def subjects(self) -> list[str]:
        """Return the names of all subjects, sorted."""
        return sorted(self._call("GET", "subjects"))

    def versions(self, subject: str) -> list[int]:
        """Return the versions of a subject; `SchemaNotFoundError` if there is none."""
        found: list[int] = self._call("GET", "subjects", subject, "versions")
        return found

    def version(self, subject: str, version: int | None = None) -> Version:
        """Return one version of a subject, the latest by default; `SchemaNotFoundError` if there is none."""
        data = self._call(
            "GET", "subjects", subject, "versions", "latest" if version is None else str(version)
        )
        return Version(subject, data["version"], data["id"], RegisteredSchema.from_data(data))

    def register(self, subject: str, schema: RegisteredSchema) -> int:
        """Add a schema to a subject, unless it is there already; return its id."""
        found: int = self._call("POST", "subjects", subject, "versions", body=schema.to_data())["id"]
        return found

    def delete_subject(self, subject: str) -> list[int]:
        """Forget a subject; return its versions."""
        found: list[int] = self._call("DELETE", "subjects", subject)
        return found

    def _call(self, method: str, *path: str, body: dict[str, Any] | None = None) -> Any:
        quoted = "/".join(urllib.parse.quote(part, safe="/" if len(path) == 1 else "") for part in path)
        request = urllib.request.Request(
            f"{self._url}/{quoted}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            kind = SchemaNotFoundError if error.code == 404 else KsqlError
            raise kind(f"Schema Registry refused the request: {_reason(error)}") from None
        except (OSError, ValueError) as error:
            raise KsqlError(f"Schema Registry at {self._url} cannot be reached: {error}") from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"HTTP {error.code}"


class DryRegistry:
    """A registry to try statements out in: it reads another one, and keeps what is registered to itself.

    Parameters
    ----------
    base : SchemaRegistry
    """

    def __init__(self, base: SchemaRegistry) -> None:
        self._base = base
        self._schemas: dict[int, RegisteredSchema] = {}
        self._subjects: dict[str, int] = {}

    def schema(self, schema_id: int) -> RegisteredSchema:
        """Return a schema by its id; `SchemaNotFoundError` if there is none."""
        return self._schemas.get(schema_id) or self._base.schema(schema_id)

    def subjects(self) -> list[str]:
        """Return the names of all subjects, sorted."""
        return sorted({*self._base.subjects(), *self._subjects})

    def versions(self, subject: str) -> list[int]:
        """Return the versions of a subject; `SchemaNotFoundError` if there is none."""
        try:
            found = self._base.versions(subject)
        except SchemaNotFoundError:
            if subject not in self._subjects:
                raise
            found = []
        return [*found, max(found, default=0) + 1] if subject in self._subjects else found

    def version(self, subject: str, version: int | None = None) -> Version:
        """Return one version of a subject, the latest by default; `SchemaNotFoundError` if there is none."""
        if subject in self._subjects and version in (None, self.versions(subject)[-1]):
            schema_id = self._subjects[subject]
            return Version(subject, self.versions(subject)[-1], schema_id, self.schema(schema_id))
        return self._base.version(subject, version)

    def register(self, subject: str, schema: RegisteredSchema) -> int:
        """Add a schema to a subject; its id is one that no registry gives."""
        if isinstance(self._base, EmbeddedRegistry):
            self._base.check_compatible(subject, schema)
        schema_id = next((i for i, s in self._schemas.items() if s == schema), -1 - len(self._schemas))
        self._schemas[schema_id] = schema
        self._subjects[subject] = schema_id
        return schema_id

    def delete_subject(self, subject: str) -> list[int]:
        """Forget what was registered for a subject here."""
        self._subjects.pop(subject, None)
        return []


def subject_name(topic: str, *, is_key: bool) -> str:
    """Return the subject of one side of a topic."""
    return f"{topic}-{'key' if is_key else 'value'}"
