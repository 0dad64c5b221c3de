"""The fields of a dataclass that have their text below them, where the schema of the configuration takes it from."""

import ast
import inspect
from itertools import pairwise


def documented(cls):
    """Names of the fields of a class that have a string below them."""
    body = ast.parse(inspect.getsource(cls)).body[0].body
    return {
        above.target.id
        for above, below in pairwise(body)
        if isinstance(above, ast.AnnAssign)
        and isinstance(below, ast.Expr)
        and isinstance(below.value.value, str)
    }
