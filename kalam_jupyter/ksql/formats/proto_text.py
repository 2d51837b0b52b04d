"""Protobuf schemas from their text: the .proto language, versions 2 and 3, as far as it describes messages.

Services and extensions are skipped. Of options only the ``params`` of ``(confluent.field_meta)`` are kept:
they hold the precision and scale of decimals.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf import descriptor_pb2

_TOKEN = re.compile(
    r"""\s*(?:(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<word>\.?[A-Za-z_][A-Za-z0-9_.]*)
    |(?P<number>[0-9][0-9A-Za-z.+]*)
    |(?P<symbol>[{}\[\]()<>=;:,+\-./]))""",
    re.DOTALL | re.VERBOSE,
)
_Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int64": _Field.TYPE_INT64,
    "uint64": _Field.TYPE_UINT64,
    "int32": _Field.TYPE_INT32,
    "fixed64": _Field.TYPE_FIXED64,
    "fixed32": _Field.TYPE_FIXED32,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "uint32": _Field.TYPE_UINT32,
    "sfixed32": _Field.TYPE_SFIXED32,
    "sfixed64": _Field.TYPE_SFIXED64,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
}
_LABELS = {
    "optional": _Field.LABEL_OPTIONAL,
    "required": _Field.LABEL_REQUIRED,
    "repeated": _Field.LABEL_REPEATED,
}


class ProtoSyntaxError(ValueError):
    """Text that is not a Protobuf schema."""


@dataclass
class ProtoFile:
    """A parsed file.

    Attributes
    ----------
    proto : FileDescriptorProto
    params : dict
        (message, field) -> the parameters of its field meta option; messages by their name in the file.
    """

    proto: descriptor_pb2.FileDescriptorProto
    params: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)


def parse_proto(text: str, name: str) -> ProtoFile:
    """Parse the text of a file called `name`.

    Raises
    ------
    ProtoSyntaxError
    """
    return _Parser(text, name).file()


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self._tokens = _tokenize(text)
        self._at = 0
        self._out = ProtoFile(descriptor_pb2.FileDescriptorProto(name=name, syntax="proto2"))
        self._path: list[str] = []

    # Tokens

    @property
    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next
        if not token:
            raise ProtoSyntaxError("unexpected end of schema")
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        token = self._take()
        if token != wanted:
            raise ProtoSyntaxError(f"expected '{wanted}', got '{token}'")

    def _accept(self, wanted: str) -> bool:
        if self._next == wanted:
            self._at += 1
            return True
        return False

    def _string(self) -> str:
        token = self._take()
        if token[0] not in "\"'":
            raise ProtoSyntaxError(f"expected a string, got '{token}'")
        return token[1:-1]

    def _number(self) -> int:
        negative = self._accept("-")
        token = self._take()
        try:
            return -int(token, 0) if negative else int(token, 0)
        except ValueError:
            raise ProtoSyntaxError(f"expected a number, got '{token}'") from None

    def _skip_statement(self) -> None:
        """Skip to the end of a statement: its semicolon, or its block."""
        depth = 0
        while True:
            token = self._take()
            if token in "{[":
                depth += 1
            elif token in "}]":
                depth -= 1
                if depth == 0 and token == "}":
                    self._accept(";")
                    return
            elif token == ";" and depth == 0:
                return

    # Declarations

    def file(self) -> ProtoFile:
        """Parse the whole file."""
        proto = self._out.proto
        while self._next:
            token = self._take()
            if token == "syntax":
                self._expect("=")
                proto.syntax = self._string()
                self._expect(";")
            elif token == "package":
                proto.package = self._take()
                self._expect(";")
            elif token == "import":
                if self._next in ("public", "weak"):
                    self._take()
                proto.dependency.append(self._string())
                self._expect(";")
            elif token == "message":
                self._message(proto.message_type.add())
            elif token == "enum":
                self._enum(proto.enum_type.add())
            elif token in ("option", "service", "extend"):
                self._skip_statement()
            elif token != ";":
                raise ProtoSyntaxError(f"unexpected '{token}'")
        return self._out

    def _message(self, message: descriptor_pb2.DescriptorProto) -> None:
        message.name = self._take()
        self._path.append(message.name)
        optional: list[descriptor_pb2.FieldDescriptorProto] = []
        self._expect("{")
        while not self._accept("}"):
            token = self._take()
            handler = self._MEMBERS.get(token)
            if handler is not None:
                handler(self, message)
            elif token == "oneof":
                self._oneof(message)
            elif token == "map" and self._next == "<":
                self._map(message)
            elif token != ";":
                self._field(message, token, optional)
        for member in optional:
            member.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{member.name}")
        self._path.pop()

    def _nested_message(self, message: descriptor_pb2.DescriptorProto) -> None:
        self._message(message.nested_type.add())

    def _nested_enum(self, message: descriptor_pb2.DescriptorProto) -> None:
        self._enum(message.enum_type.add())

    def _skipped(self, message: descriptor_pb2.DescriptorProto) -> None:
        self._skip_statement()

    _MEMBERS: dict[str, Callable[[_Parser, descriptor_pb2.DescriptorProto], None]] = {
        "message": _nested_message,
        "enum": _nested_enum,
        "option": _skipped,
        "reserved": _skipped,
        "extensions": _skipped,
        "extend": _skipped,
    }

    def _field(
        self,
        message: descriptor_pb2.DescriptorProto,
        token: str,
        optional: list[descriptor_pb2.FieldDescriptorProto],
    ) -> None:
        member = message.field.add(label=_Field.LABEL_OPTIONAL)
        if token in _LABELS:
            member.label = _LABELS[token]
            if token == "optional" and self._out.proto.syntax == "proto3":
                member.proto3_optional = True
                optional.append(member)
            token = self._take()
        self._set_type(member, token)
        self._rest(member)

    def _set_type(self, member: descriptor_pb2.FieldDescriptorProto, name: str) -> None:
        if name in SCALARS:
            member.type = SCALARS[name]
        else:
            member.type_name = name

    def _rest(self, member: descriptor_pb2.FieldDescriptorProto) -> None:
        """Parse ``name = number [options];``."""
        member.name = self._take()
        self._expect("=")
        member.number = self._number()
        if self._accept("["):
            params = self._options()
            if params:
                self._out.params[".".join(self._path), member.name] = params
        self._expect(";")

    def _options(self) -> dict[str, str]:
        """Parse options up to the closing bracket; return the parameters among them."""
        start, depth = self._at, 1
        while depth:
            depth += {"[": 1, "]": -1}.get(self._take(), 0)
        tokens = self._tokens[start : self._at - 1]
        if not any("field_meta" in token for token in tokens):
            return {}
        found: dict[str, str] = {}
        entry: dict[str, str] = {}
        for i, token in enumerate(tokens):
            if token in ("key", "value") and tokens[i + 1 : i + 2] == [":"]:
                entry[token] = tokens[i + 2].strip("\"'")
                if len(entry) == 2:
                    found[entry["key"]] = entry["value"]
                    entry = {}
        return found

    def _oneof(self, message: descriptor_pb2.DescriptorProto) -> None:
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=self._take())
        self._expect("{")
        while not self._accept("}"):
            token = self._take()
            if token == "option":
                self._skip_statement()
            elif token != ";":
                member = message.field.add(label=_Field.LABEL_OPTIONAL, oneof_index=index)
                self._set_type(member, token)
                self._rest(member)

    def _map(self, message: descriptor_pb2.DescriptorProto) -> None:
        self._expect("<")
        entry = descriptor_pb2.DescriptorProto()
        entry.options.map_entry = True
        for number, (name, end) in enumerate((("key", ","), ("value", ">")), 1):
            part = entry.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
            self._set_type(part, self._take())
            self._expect(end)
        member = message.field.add(label=_Field.LABEL_REPEATED)
        self._rest(member)
        entry.name = "".join(word[:1].upper() + word[1:] for word in member.name.split("_")) + "Entry"
        member.type_name = ".".join([*self._path[-1:], entry.name])
        message.nested_type.append(entry)

    def _enum(self, enum: descriptor_pb2.EnumDescriptorProto) -> None:
        enum.name = self._take()
        self._expect("{")
        while not self._accept("}"):
            token = self._take()
            if token in ("option", "reserved"):
                if token == "option" and self._next == "allow_alias":
                    enum.options.allow_alias = True
                self._skip_statement()
            elif token != ";":
                self._expect("=")
                enum.value.add(name=token, number=self._number())
                if self._accept("["):
                    self._options()
                self._expect(";")


def _tokenize(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ProtoSyntaxError(f"unexpected character {text[at:].strip()[:1]!r}")
        if match["comment"] is None:
            tokens.append(match[match.lastgroup or "symbol"])
        at = match.end()
    return tokens
