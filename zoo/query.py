"""Queries over tables: a small expression language, evaluated without ever running code.

The grammar is Python's, cut down to an allow-list: column names, numbers, text, `True`, `False`, `None`,
comparisons (also chained), `in` and `not in` with a literal list, `and`, `or`, `not`, `-x`, `+ - * /`.

A missing value compares False with everything, also under `!=` and `not in`; `x == None` and `x is None`
find it. `and`, `or` and `not` are two-valued: `not (loss < 1)` holds where the loss is missing.
"""

from __future__ import annotations

import ast
import difflib
import operator
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool
from numpy.typing import NDArray

from zoo.errors import QueryError

MAX_LENGTH = 10_000
MAX_DEPTH = 100
EXAMPLE = "status == 'finished' and width >= 32 and epoch == last_epoch"
_ALLOWED = (
    "columns, numbers, text, True, False, None, comparisons, `in [...]`, `and`, `or`, `not` and + - * /, "
    f'such as "{EXAMPLE}"'
)

_NODES = (ast.Name, ast.Load, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp)
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_MEMBERSHIP = (ast.In, ast.NotIn)
_IDENTITY = (ast.Is, ast.IsNot)
_TESTS = (*_COMPARISONS, *_MEMBERSHIP, *_IDENTITY)
_PLAIN = {
    ast.Call: "a function call",
    ast.Attribute: "an attribute",
    ast.Subscript: "a subscript",
    ast.Lambda: "a lambda",
    ast.JoinedStr: "an f-string",
    ast.NamedExpr: "an assignment",
    ast.IfExp: "a conditional",
    ast.ListComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
}

_Kind = Literal["number", "text", "boolean", "missing"]
_NUMBERS = {"integer", "floating", "mixed-integer-float", "integer-na"}


@dataclass(frozen=True)
class Query:
    """A checked expression, ready to run over any table that has its columns.

    Attributes:
        expression: The text.
        columns: The columns that it names.
    """

    expression: str
    columns: frozenset[str]
    _tree: ast.expr = field(repr=False)

    def evaluate(self, frame: pd.DataFrame) -> Bool[np.ndarray, " rows"]:
        """Find the rows for which the expression holds.

        Args:
            frame: The table.

        Returns:
            `(n_rows,)`, one boolean per row, in the table's order.

        Raises:
            QueryError: A column is unknown, two types do not compare, or no boolean per row comes out.

        Example:
            >>> table = pd.DataFrame({"width": [8, 32], "phase": ["I", None]})
            >>> parse("8 < width <= 64 or phase in ['I']").evaluate(table).tolist()
            [True, True]
            >>> parse("phase != 'I'").evaluate(table).tolist()
            [False, False]
        """
        unknown = sorted(self.columns - set(frame.columns))
        if unknown:
            raise _unknown_column(unknown[0], map(str, frame.columns))
        found = _Evaluator(self.expression, frame).value(self._tree)
        if found.kind != "boolean" or found.data.ndim == 0:
            got = f"a {found.kind} per row" if found.kind != "missing" else "only missing values"
            got = got if found.data.ndim else "one value for the whole table"
            raise QueryError(
                f"the query {_short(self.expression)} must give one boolean per row, got {got}; "
                f'compare a column with something, such as "{EXAMPLE}"'
            )
        return found.truth


def parse(expression: str) -> Query:
    """Read and check a query; nothing in it is ever run as code.

    Args:
        expression: The text, at most 10,000 characters.

    Returns:
        The query.

    Raises:
        QueryError: It is no valid syntax, too long, too deep, or uses a construct that is not allowed.

    Example:
        >>> sorted(parse("width >= 32 and epoch == last_epoch").columns)
        ['epoch', 'last_epoch', 'width']
        >>> parse("__import__('os')")
        Traceback (most recent call last):
        zoo.errors.QueryError: a function call at column 1 is not allowed in a query: `__import__('os')`; ...
    """
    text = expression.strip()
    tree = _syntax_tree(text)
    _check_depth(tree)
    for node in ast.walk(tree):
        if not _is_allowed(node):
            raise _not_allowed(text, node)
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return Query(text, names, tree)


def _syntax_tree(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise QueryError(
            f"the query has {len(text)} characters, expected at most {MAX_LENGTH}; "
            "filter in steps, or select rows of the table by hand"
        )
    try:
        with warnings.catch_warnings():  # such as invalid escapes in text: not worth a warning here
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        where = f"line {error.lineno or 1}, column {error.offset or 1}"
        raise QueryError(
            f"the query {_short(text)} is not valid at {where}: {error.msg}; expected {_ALLOWED}"
        ) from None
    except (RecursionError, MemoryError):
        raise _too_deep() from None
    except ValueError as error:  # null bytes, lone surrogates
        raise QueryError(f"the query {_short(text)} is not valid text: {error}; remove them") from None


def _too_deep() -> QueryError:
    return QueryError(
        f"the query nests more than {MAX_DEPTH} levels deep; expected fewer: write `x in [...]` instead of "
        "long chains, or filter in steps"
    )


def _check_depth(tree: ast.expr) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise _too_deep()


def _is_allowed(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=value):
            return value is None or isinstance(value, str | int | float)
        case ast.Compare():
            return all(map(_is_comparable, node.ops, [node.left, *node.comparators], node.comparators))
        case ast.List() | ast.Tuple():
            return all(map(_is_literal, node.elts))
    return isinstance(node, _NODES + _TESTS + tuple(_ARITHMETIC))


def _is_comparable(test: ast.cmpop, left: ast.expr, right: ast.expr) -> bool:
    if isinstance(left, ast.List | ast.Tuple) or isinstance(test, _MEMBERSHIP) != isinstance(
        right, ast.List | ast.Tuple
    ):
        return False
    with_none = any(isinstance(side, ast.Constant) and side.value is None for side in (left, right))
    if isinstance(test, _IDENTITY):
        return with_none
    return not with_none or isinstance(test, (ast.Eq, ast.NotEq, *_MEMBERSHIP))


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant)


def _not_allowed(text: str, node: ast.AST) -> QueryError:
    where = f" at column {_column(text, node)}" if isinstance(node, ast.expr) else ""
    segment = ast.get_source_segment(text, cast(ast.expr, node)) if where else None
    quoted = f": `{_short(segment)}`" if segment else ""
    return QueryError(f"{_construct(node)}{where} is not allowed in a query{quoted}; expected {_ALLOWED}")


def _construct(node: ast.AST) -> str:
    if isinstance(node, ast.Compare):
        return "this comparison (`in` takes a literal list, `is` takes None, None has no order)"
    if isinstance(node, ast.Constant):
        return f"a constant of type {type(node.value).__name__}"
    return _PLAIN.get(type(node), f"the construct {type(node).__name__}")


def _column(text: str, node: ast.expr) -> int:
    line = text.splitlines()[node.lineno - 1] if text else ""
    return len(line.encode()[: node.col_offset].decode()) + 1


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _unknown_column(name: str, known: Iterable[str]) -> QueryError:
    close = difflib.get_close_matches(name, list(known), n=3)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ";"
    if name.startswith("phase"):
        hint = "; phase labels are stored by a measurement that this zoo lacks;"
    return QueryError(
        f"unknown column {name!r}{hint} `z.checkpoints.columns` and `z.models.columns` list them"
    )


@dataclass(frozen=True)
class _Value:
    """A value per row, or one for all rows (0-d), with the mask of what is missing."""

    kind: _Kind
    data: NDArray[Any]
    missing: NDArray[Any]

    @property
    def truth(self) -> NDArray[Any]:
        return np.asarray(self.data & ~self.missing)


def _boolean(data: Any) -> _Value:
    return _Value("boolean", np.asarray(data, bool), np.zeros((), bool))


def _number(data: Any) -> _Value:
    return _Value("number", np.asarray(data, np.float64), np.asarray(np.isnan(data)))


def _literal(value: str | int | float | None) -> _Value:
    present, absent = np.zeros((), bool), np.ones((), bool)
    if value is None:
        return _Value("missing", np.zeros((), bool), absent)
    if isinstance(value, str):
        return _Value("text", np.asarray(value, dtype=object), present)
    if isinstance(value, bool):
        return _boolean(value)
    try:
        return _number(float(value))
    except OverflowError:
        raise QueryError("a number in the query is too large; expected at most 1.8e308 in size") from None


def _from_series(column: pd.Series[Any]) -> _Value:
    values = column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column
    missing = values.isna().to_numpy(bool)
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in _NUMBERS:
        return _Value("number", values.to_numpy(np.float64, na_value=np.nan), missing)
    if kind == "string":
        return _Value("text", np.where(missing, "", values.to_numpy(object)), missing)
    if kind == "boolean":
        return _Value("boolean", np.where(missing, False, values.to_numpy(object)).astype(bool), missing)
    if kind == "empty":
        return _Value("missing", np.zeros(len(values), bool), missing)
    raise QueryError(
        f"column {column.name!r} holds values of type {kind}; queries compare numbers, text and booleans; "
        "select rows of the table by hand"
    )


class _Evaluator:
    """Evaluates a checked tree over one table."""

    def __init__(self, source: str, frame: pd.DataFrame) -> None:
        self.source = source
        self.frame = frame

    def value(self, node: ast.expr) -> _Value:
        match node:
            case ast.Constant():
                return _literal(cast("str | int | float | None", node.value))
            case ast.Name():
                return _from_series(self.frame[node.id])
            case ast.UnaryOp(op=ast.USub()):
                return _number(-self._number(node.operand))
            case ast.BinOp():
                return self._arithmetic(node)
        return _boolean(self._logic(node))

    def _logic(self, node: ast.expr) -> NDArray[Any]:
        match node:
            case ast.UnaryOp():
                return np.asarray(~self._truth(node.operand))
            case ast.BoolOp():
                join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
                return np.asarray(reduce(join, map(self._truth, node.values)))
            case ast.Compare():
                sides = [node.left, *node.comparators]
                tests = map(self._test, node.ops, sides, node.comparators)
                return np.asarray(reduce(np.logical_and, tests))
        raise _not_allowed(self.source, node)

    def _truth(self, node: ast.expr) -> NDArray[Any]:
        found = self.value(node)
        if found.kind not in {"boolean", "missing"}:
            raise self._wrong(node, "`and`, `or` and `not` join booleans", "a comparison", found)
        return found.truth

    def _number(self, node: ast.expr) -> NDArray[Any]:
        found = self.value(node)
        if found.kind not in {"number", "missing"}:
            raise self._wrong(node, "arithmetic takes numbers", "a number", found)
        return np.where(found.missing, np.nan, found.data)

    def _arithmetic(self, node: ast.BinOp) -> _Value:
        left, right = self._number(node.left), self._number(node.right)
        with np.errstate(all="ignore"):  # 0 / 0 is missing, 1 / 0 infinite
            return _number(_ARITHMETIC[type(node.op)](left, right))

    def _test(self, test: ast.cmpop, left: ast.expr, right: ast.expr) -> NDArray[Any]:
        if isinstance(right, ast.List | ast.Tuple):
            return self._member(left, right.elts, negated=isinstance(test, ast.NotIn))
        none = [isinstance(side, ast.Constant) and side.value is None for side in (left, right)]
        if any(none):
            missing = self.value(right if none[0] else left).missing
            return missing if isinstance(test, ast.Eq | ast.Is) else np.asarray(~missing)
        a, b = self.value(left), self.value(right)
        self._check_kinds(left, a, right, b)
        present = ~np.asarray(a.missing | b.missing)
        if not present.any():  # nothing to compare; a column without a value has no type either
            return present
        return np.asarray(present & np.asarray(_COMPARISONS[type(test)](a.data, b.data), bool))

    def _member(self, node: ast.expr, choices: list[ast.expr], *, negated: bool) -> NDArray[Any]:
        found, listed = self.value(node), [self.value(choice) for choice in choices]
        for choice, value in zip(choices, listed, strict=True):
            self._check_kinds(node, found, choice, value)
        known = [value.data.item() for value in listed if value.kind != "missing"]
        rows = pd.Series(np.atleast_1d(found.data), dtype=found.data.dtype)
        inside = np.asarray(rows.isin(known), bool).reshape(found.data.shape)
        takes_missing = any(value.kind == "missing" for value in listed)
        if negated:
            return np.where(found.missing, False, ~inside)
        return np.where(found.missing, takes_missing, inside)

    def _check_kinds(self, left: ast.expr, a: _Value, right: ast.expr, b: _Value) -> None:
        if a.kind != b.kind and "missing" not in {a.kind, b.kind}:
            raise QueryError(
                f"the query compares {self._text(left)}, a {a.kind}, with {self._text(right)}, a {b.kind}; "
                f"expected two values of one type; text stands in quotes, numbers do not"
            )

    def _wrong(self, node: ast.expr, what: str, expected: str, found: _Value) -> QueryError:
        return QueryError(
            f'{what}: expected {expected}, got the {found.kind} {self._text(node)}; see "{EXAMPLE}"'
        )

    def _text(self, node: ast.expr) -> str:
        return f"`{_short(ast.get_source_segment(self.source, node) or '')}`"
