"""The adapter is thin: views are short, and what a payment means is not decided here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mpesa_django

FOLDER = Path(mpesa_django.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))
MEANING = {"outcome", "status", "result_code", "result_code_text", "reason", "settled_by", "disposition"}
"""What says what a payment means."""


def name_of(module):
    return str(module.relative_to(FOLDER))


def functions(module):
    tree = ast.parse(module.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


VIEWS = [
    pytest.param(view, id=f"{name_of(module)}:{view.name}")
    for module in MODULES
    for view in functions(module)
    if module.name == "views.py" or view.name.endswith("_view")
]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_short(view):
    """From its signature to its last line, a view and whatever stands beside it has less than 15 lines."""
    assert view.end_lineno - view.lineno + 1 < 15


def conditions(module):
    """Everything that the module chooses by."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        match node:
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) | ast.Match(subject=test):
                yield test
            case ast.comprehension(ifs=tests):
                yield from tests
            case ast.Compare():
                yield node


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_nothing_is_decided_about_a_payment(module):
    """No condition looks at a status, an outcome or a code."""
    asked = {
        each.attr if isinstance(each, ast.Attribute) else each.id
        for condition in conditions(module)
        for each in ast.walk(condition)
        if isinstance(each, (ast.Attribute, ast.Name))
    }
    assert set() == asked & MEANING
