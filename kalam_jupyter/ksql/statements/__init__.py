"""Statements: one handler for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.statements import (
    asserts,
    connectors,
    ddl,
    descriptions,
    explain,
    insert,
    queries,
    settings,
    show,
)
from kalam_jupyter.ksql.statements.entities import Entity
from kalam_jupyter.ksql.statements.run import Run

Handler = Callable[[Run, Any, str], Entity | None]

#: Gets the run, the statement and its text; returns its entity, if it has one.
HANDLERS: dict[type[ast.Statement], Handler] = {
    ast.CreateSource: ddl.create_source,
    ast.CreateSourceAs: queries.create_source_as,
    ast.InsertInto: queries.insert_into,
    ast.InsertValues: insert.insert_values,
    ast.DropSource: ddl.drop_source,
    ast.AlterSource: ddl.alter_source,
    ast.CreateType: ddl.create_type,
    ast.DropType: ddl.drop_type,
    ast.CreateConnector: connectors.create_connector,
    ast.DropConnector: connectors.drop_connector,
    ast.DescribeConnector: connectors.describe_connector,
    ast.Terminate: queries.terminate,
    ast.Pause: queries.pause,
    ast.Resume: queries.resume,
    ast.SetProperty: settings.set_property,
    ast.UnsetProperty: settings.unset_property,
    ast.AlterSystem: settings.alter_system,
    ast.Define: settings.define,
    ast.Undefine: settings.undefine,
    ast.Show: show.show,
    ast.Describe: descriptions.describe,
    ast.DescribeAll: descriptions.describe_all,
    ast.DescribeFunction: descriptions.describe_function,
    ast.Explain: explain.explain,
    ast.AssertTopic: asserts.assert_topic,
    ast.AssertSchema: asserts.assert_schema,
}
