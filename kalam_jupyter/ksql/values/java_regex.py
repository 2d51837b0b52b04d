"""Java regular expressions, translated to the `regex` package.

The two dialects agree on most of the syntax. Translated are ``\\Q..\\E``, named back references, ``\\z``
and ``\\Z``, the dot, the predefined classes (ASCII in Java), POSIX classes, octal and ``\\x{..}`` escapes.
Source: function contract
3.1 and java.util.regex.Pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import regex

from kalam_jupyter.ksql.values.errors import EvaluationError

_WORD = "A-Za-z0-9_"
_CLASSES = {
    "d": "0-9",
    "w": _WORD,
    "s": r" \t\n\x0b\f\r",
    "h": r" \t\xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000",
    "v": r"\n\x0b\f\r\x85\u2028\u2029",
}
_POSIX = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7f",
    "Alpha": "A-Za-z",
    "Digit": "0-9",
    "Alnum": "A-Za-z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9A-Fa-f",
    "Space": r" \t\n\x0b\f\r",
    "javaLowerCase": r"\p{Ll}",
    "javaUpperCase": r"\p{Lu}",
    "javaWhitespace": r"\s",
    "javaLetter": r"\p{L}",
    "javaDigit": r"\p{Nd}",
    "javaLetterOrDigit": r"\p{L}\p{Nd}",
}
_BOUNDARY = f"(?:(?<=[{_WORD}])(?![{_WORD}])|(?<![{_WORD}])(?=[{_WORD}]))"
_NO_BOUNDARY = f"(?:(?<=[{_WORD}])(?=[{_WORD}])|(?<![{_WORD}])(?![{_WORD}]))"
_ESCAPE = re.compile(
    r"\\(?:Q(?P<quoted>.*?)(?:\\E|\Z)|k<(?P<back>\w+)>|x\{(?P<hex>[0-9A-Fa-f]+)\}|0(?P<octal>[0-3]?[0-7]{1,2})"
    r"|(?P<sign>[pP])(?:\{(?P<property>[^}]*)\}|(?P<short>\w))|(?P<one>.))",
    re.DOTALL,
)
_SIMPLE = {"z": r"\Z", "Z": r"(?=\n?\Z)", "e": r"\x1b", "b": _BOUNDARY, "B": _NO_BOUNDARY}


def _literal(text: str) -> str:
    return "".join(f"\\U{ord(c):08x}" if not c.isalnum() else c for c in text)


def _class(items: str, negated: bool, inside: bool) -> str:
    if negated:
        return f"[^{items}]"
    return items if inside else f"[{items}]"


def _escape(match: re.Match[str], inside: bool) -> str:
    if match["quoted"] is not None:
        return _literal(match["quoted"])
    if match["back"]:
        return f"(?P={match['back']})"
    if match["hex"]:
        return f"\\U{int(match['hex'], 16):08x}"
    if match["octal"]:
        return f"\\x{int(match['octal'], 8):02x}"
    if match["sign"]:
        name = match["property"] or match["short"]
        if name in _POSIX:
            return _class(_POSIX[name], match["sign"] == "P", inside)
        return f"\\{match['sign']}{{{name}}}"
    one = match["one"]
    if one.lower() in _CLASSES:
        return _class(_CLASSES[one.lower()], one.isupper(), inside)
    return match[0] if inside else _SIMPLE.get(one, match[0])


def translate(pattern: str) -> str:
    """Return the `regex` pattern that matches what the Java pattern does."""
    out: list[str] = []
    depth, at = 0, 0
    dot = "." if re.search(r"\(\?[a-zA-Z]*s", pattern) else r"[^\n\r\x85\u2028\u2029]"
    while at < len(pattern):
        c = pattern[at]
        if c == "\\" and (match := _ESCAPE.match(pattern, at)):
            out.append(_escape(match, depth > 0))
            at = match.end()
            continue
        if c == "[":
            depth += 1
            if pattern[at + 1 : at + 2] == "]" or pattern[at + 1 : at + 3] == "^]":
                # a bracket that comes first is a literal in `regex` but not in Java: an error there
                raise EvaluationError(f"Unclosed character class in '{pattern}'")
        elif c == "]" and depth:
            depth -= 1
        elif c == "." and not depth:
            c = dot
        elif depth and c in "-|~" and pattern[at + 1 : at + 2] == c:
            c = "\\" + c
        out.append(c)
        at += 1
    return "".join(out)


@lru_cache(512)
def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """Compile a Java pattern; EvaluationError if it is not one."""
    try:
        return regex.compile(translate(pattern), flags=regex.V1)
    except regex.error as error:
        raise EvaluationError(f"Invalid regular expression pattern '{pattern}': {error}") from error


_REPLACEMENT = re.compile(r"\\(.)|\$(\d)(\d*)|\$\{(\w+)\}|([^\\$]+)|(.)", re.DOTALL)


def replacer(replacement: str, groups: int) -> Callable[[regex.Match[str]], str]:
    """Return the function of Java's replacement text: ``$1`` and ``${name}`` are groups, a backslash quotes.

    Raises
    ------
    EvaluationError
        For a group that does not exist, or a lone ``$`` or backslash.
    """
    parts: list[str | int | tuple[str]] = []
    for quoted, first, more, name, plain, bad in _REPLACEMENT.findall(replacement):
        if bad:
            raise EvaluationError(f"Illegal group reference in '{replacement}'")
        if first:
            number = int(first)
            while more and number * 10 + int(more[0]) <= groups:
                number, more = number * 10 + int(more[0]), more[1:]
            if number > groups:
                raise EvaluationError(f"No group {number}")
            parts.extend((number, more))
        else:
            parts.append((name,) if name else quoted or plain)

    def expand(match: regex.Match[str]) -> str:
        return "".join(
            p if isinstance(p, str) else (match[p] if isinstance(p, int) else match[p[0]]) or ""
            for p in parts
        )

    return expand
