"""``python -m fingerprints.build NAME …`` runs the offline command of the module of that name in this package."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules


def run(arguments: list[str]) -> int:
    """Run ``main(arguments)`` of the named module; its exit code, or 2 for a name without a command."""
    name = arguments[0].replace("-", "_") if arguments else ""
    if not name.isidentifier() or find_spec(f"fingerprints.build.{name}") is None:
        return _usage()
    command = getattr(import_module(f"fingerprints.build.{name}"), "main", None)
    return _usage() if command is None else int(command(arguments[1:]) or 0)


def _usage() -> int:
    package = import_module("fingerprints.build")
    modules = sorted(module.name for module in iter_modules(package.__path__) if not module.name.startswith("_"))
    print(f"usage: python -m fingerprints.build NAME …\nmodules with a main() among: {', '.join(modules)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
