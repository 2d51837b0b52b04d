"""Java's value semantics: what arithmetic, comparison, casts and text mean to ksqlDB.

Everything here works on physical values (see `kalam_jupyter.engine.types`): temporal values are integers, a
STRUCT is a tuple, a MAP a dict. Run-time failures are `EvaluationError`; what cannot be planned is a
`KsqlError`.

=========== ================================================================================
numbers     wrapping and saturating integers, Java's text of a DOUBLE, exact decimals
arithmetic  result types and functions of ``+ - * / %`` and unary minus
text        UTF-16 order, length and slices
compare     ``= <> < <= > >=`` by type pair
convert     implicit widening and the CAST matrix
coerce      the common type of IN lists, ARRAY and MAP constructors
render      text of any value: CAST to STRING
calendar    the ISO calendar in integers, ISO text
zones       time zones
java_format formatting by DateTimeFormatter patterns, which java_pattern splits
java_parse  reading by DateTimeFormatter patterns; simple_date by those of SimpleDateFormat
java_regex  Java regular expressions
json_text   JSON with exact numbers, TO_JSON_STRING
=========== ================================================================================
"""

from kalam_jupyter.ksql.values.errors import EvaluationError

__all__ = ["EvaluationError"]
