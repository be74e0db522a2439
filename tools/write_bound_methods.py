"""Write arpes_ml_plugins/bound_methods.pyi: all built-in methods as editors should see them.

Run it after a change of a signature or of the first line of a docstring; a test compares.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import arpes_ml_plugins
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.plugins.registry import Method

FILE = Path(arpes_ml_plugins.__file__).with_name("bound_methods.pyi")
HEADER = '''"""Written by tools/write_bound_methods.py; do not edit."""

{imports}

Data = TypeVar("Data", bound=xr.DataArray | xr.Dataset, default=xr.DataArray)

class BoundMethods(Generic[Data]):
'''
ALWAYS = {
    "import xarray as xr",
    "from typing import Generic",
    "from typing_extensions import TypeVar",
}
LONGEST = 100
PLAIN = (str, int, float, bool, type(None))
"""Types of defaults that are shown."""


def stub() -> str:
    """The text of the file."""
    imports, methods = set(ALWAYS), []
    for method in plugins().methods:
        if method.owner == "arpes_ml_plugins":
            methods.append(_method(method))
            imports |= set(_imports(method))
    return HEADER.format(imports=_sorted(imports)) + "\n".join(methods)


def _method(method: Method) -> str:
    """One method, a parameter to a line."""
    _, *parameters = method.signature.parameters.values()
    lines = [f"    def {method.name}(", "        self,", "        *,", *map(_parameter, parameters)]
    returned = "Data" if method.returns_array else method.signature.return_annotation
    summary = method.summary.replace("\\", "\\\\")
    return "\n".join([*lines, f"    ) -> {returned}:", f'        """{summary}"""', ""])


def _parameter(parameter: inspect.Parameter) -> str:
    """As ruff formats it."""
    line = f"        {parameter.name}: {parameter.annotation}"
    if parameter.default is not inspect.Parameter.empty:
        value, plain = parameter.default, isinstance(parameter.default, PLAIN)
        text = f'"{value}"' if isinstance(value, str) else repr(value)
        line += f" = {text if plain else '...'}"
    return (line if len(line) < LONGEST else line.replace(" | ", "\n        | ")) + ","


def _imports(method: Method) -> Iterator[str]:
    """What the annotations of a method need, as its own file imports it."""
    module = sys.modules[method.function.__module__]
    known = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import):
            known |= {
                alias.asname or alias.name: f"import {alias.name}"
                + (f" as {alias.asname}" if alias.asname else "")
                for alias in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            known |= {alias.name: f"from {node.module} import {alias.name}" for alias in node.names}
    signature = method.signature
    written = [p.annotation for p in list(signature.parameters.values())[1:]]
    for annotation in [*written, signature.return_annotation]:
        for node in ast.walk(ast.parse(annotation)):
            if isinstance(node, ast.Name) and not hasattr(builtins, node.id):
                yield known.get(node.id, f"from {module.__name__} import {node.id}")


def _sorted(imports: set[str]) -> str:
    """In the order of ruff: standard library, others, ours; names of one module together."""
    plain = sorted(line for line in imports if line.startswith("import"))
    names: dict[str, list[str]] = {}
    for line in sorted(imports - set(plain)):
        _, module, _, name = line.split()
        names.setdefault(module, []).append(name)
    lines = plain + [f"from {module} import {', '.join(sorted(n))}" for module, n in names.items()]
    groups: list[list[str]] = [[], [], []]
    for line in lines:
        package = line.split()[1].partition(".")[0]
        group = 2 if package == "arpes_ml_plugins" else int(package not in sys.stdlib_module_names)
        groups[group].append(line)
    return "\n\n".join("\n".join(group) for group in groups if group)


if __name__ == "__main__":
    FILE.write_text(stub(), encoding="utf-8")
