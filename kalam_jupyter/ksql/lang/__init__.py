"""ksqlDB's SQL as text and as a tree: tokens, parser, canonical text, variables, completion."""

from kalam_jupyter.ksql.lang.format import format_expression, format_schema, format_statement, format_type
from kalam_jupyter.ksql.lang.parser import (
    ParsedStatement,
    parse_expression,
    parse_schema,
    parse_script,
    parse_statement,
    parse_type,
    split_statements,
    statement_spans,
)

__all__ = [
    "ParsedStatement",
    "format_expression",
    "format_schema",
    "format_statement",
    "format_type",
    "parse_expression",
    "parse_schema",
    "parse_script",
    "parse_statement",
    "parse_type",
    "split_statements",
    "statement_spans",
]
