"""Java's value semantics: what arithmetic, comparison, casts and text mean to ksqlDB.

Everything here works on physical values (see `kalam_jupyter.engine.types`): temporal values are integers, a
STRUCT is a tuple, a MAP a dict. Run-time failures are `EvaluationError`; what cannot be planned is a
`KsqlError`.

========== ==========================================================================================
numbers    wrapping and saturating integers, Java's text of a DOUBLE, exact decimals
arithmetic result types and functions of ``+ - * / %`` and unary minus
text       UTF-16 order, length and slices
compare    ``= <> < <= > >=`` by type pair
convert    implicit widening, the CAST matrix, coercion to a common type
render     text of any value: CAST to STRING, TO_JSON_STRING
java_time  DateTimeFormatter and SimpleDateFormat patterns, zones, partial ISO timestamps
java_regex Java regular expressions
json_text  JSON with exact numbers
========== ==========================================================================================
"""

from kalam_jupyter.ksql.values.errors import EvaluationError

__all__ = ["EvaluationError"]
