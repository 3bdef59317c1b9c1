"""A contract for import-linter: a library outside is known to few modules.

import-linter's own contracts see a library outside as one name; to tell ``p4p.server`` from ``p4p.client``
the import statements themselves are read here.
"""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class KnownToContract(Contract):
    """Only the modules of `known_to`, and what lies below them, import `outside`.

    Imports within functions count too. Names in `known_to` that do not exist (yet) are no error.
    """

    type_name = "known_to"

    outside = fields.StringField()
    known_to = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        outside = str(self.outside)
        known_to: set[str] = self.known_to  # type: ignore[assignment]

        library = outside.partition(".")[0]
        importers = graph.find_modules_that_directly_import(library) if library in graph.modules else set()
        strangers = sorted(m for m in importers if not any(_is_within(m, known) for known in known_to))
        broken = [f"{place} imports {name}" for m in strangers for place, name in _imports(m, outside)]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        known_to: set[str] = self.known_to  # type: ignore[assignment]
        for line in check.metadata["broken"]:
            output.print_error(f"{line}, which only {', '.join(sorted(known_to))} may know.")
        output.new_line()


def _is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _imports(module: str, outside: str) -> Iterator[tuple[str, str]]:
    path = _file_of(module)
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if _is_within(name, outside):
                yield f"{path}:{node.lineno}", name


def _file_of(module: str) -> Path:
    package, *rest = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed here; run: make lint", name=package)
    path = Path(spec.submodule_search_locations[0], *rest)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
