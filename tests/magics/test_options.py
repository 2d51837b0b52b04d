from __future__ import annotations

import pytest

from kalam_jupyter.magics.errors import UsageError
from kalam_jupyter.magics.options import OPTIONS, Options, describe_options, parse_options


def test_options_stand_before_the_sql():
    options, rest = parse_options("--live --limit 5 --sort=delay:desc SELECT a - b -- c", "ksql")
    assert options == Options(live=True, limit=5, sort=("delay", "desc"))
    assert rest == " SELECT a - b -- c"


def test_without_options_everything_is_sql():
    assert parse_options("SELECT 1", "kalam") == (Options(), "SELECT 1")


def test_a_comment_is_no_option():
    assert parse_options("-- all\nSELECT 1", "ksql") == (Options(), "-- all\nSELECT 1")


def test_values_may_be_quoted():
    options, _ = parse_options("""--params "[1, 'a b']" SELECT""", "kalam")
    assert options.params == "[1, 'a b']"


def test_short_names():
    options, _ = parse_options("-l 3 -n shop -c far", "kalam")
    assert (options.limit, options.namespace, options.connection) == (3, "shop", "far")


@pytest.mark.parametrize(
    ("line", "dialect", "message"),
    [
        ("--limt 5", "ksql", "%%ksql has no option --limt. Did you mean --limit?"),
        ("--namespace x", "ksql", "--namespace is an option of %%kalam, not of %%ksql"),
        ("--earliest", "kalam", "--earliest is an option of %%ksql, not of %%kalam"),
        ("--limit", "ksql", "--limit needs a value: --limit N"),
        ("--plot pie", "ksql", "--plot takes line, bar, area or points, not 'pie'"),
        ("--plot lines --x at", "ksql", "--plot takes line, bar, area or points, not 'lines'"),
        ("--y n SELECT 1", "ksql", "--x, --y and --by say what --plot draws: give --plot, too"),
        (
            "--plot --y a,,b SELECT 1",
            "kalam",
            "--y takes columns, with commas between them and no spaces, not 'a,,b'",
        ),
        ("--limit many", "ksql", "--limit takes a whole number above 0, not 'many'"),
        ("--limit 0", "ksql", "--limit takes a whole number above 0, not '0'"),
        ("--sort a:up", "ksql", "--sort takes COLUMN, COLUMN:asc or COLUMN:desc, not 'a:up'"),
        ("--live --once", "ksql", "--live follows a query and --once does not: give one of them"),
        ("--timeout soon", "ksql", "--timeout takes seconds above 0, not 'soon'"),
        (
            "--into a-b",
            "ksql",
            "--into takes a Python name, or a KalamDB table as namespace.table, not 'a-b'",
        ),
        ("--as-user x", "ksql", "--as-user is an option of %%kalam, not of %%ksql"),
        ("--live=yes", "ksql", "--live takes no value"),
    ],
)
def test_what_is_wrong_is_said(line, dialect, message):
    with pytest.raises(UsageError) as caught:
        parse_options(line, dialect)
    assert str(caught.value) == message


def test_every_option_is_in_the_help():
    text = describe_options("ksql") + describe_options("kalam")
    assert all(name in text for name in OPTIONS)


@pytest.mark.parametrize(
    ("line", "plot", "rest"),
    [
        ("--plot", "", ""),
        ("--plot bar", "bar", ""),
        ("--plot=points SELECT 1", "points", " SELECT 1"),
        ("--plot area SELECT 1", "area", " SELECT 1"),
        ("--plot SELECT 1", "", " SELECT 1"),
        ("--plot x << SELECT 1", "", " x << SELECT 1"),
        ("--plot --rows 9 SELECT 1", "", " SELECT 1"),
    ],
)
def test_a_plot_may_leave_its_kind_open(line, plot, rest):
    options, left = parse_options(line, "ksql")
    assert (options.plot, left) == (plot, rest)


def test_a_plot_takes_columns():
    options, _ = parse_options("--plot line --x at --y low,high --by city", "kalam")
    assert (options.x, options.y, options.by) == ("at", ("low", "high"), ("city",))
