"""Tests of statements: records in, statements run, records out compared exactly."""
