"""ksqlDB's SQL as text and as a tree: tokens, parser, canonical formatting, variables, completion."""
