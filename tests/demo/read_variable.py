#!/usr/bin/python3
"""A headless QGIS job: read_variable.py NAME

Asks QGIS's expression engine for the environment variable NAME, as a layer
filter or a default value in a project would. Prints its SHA-256, by which the
value can be recognised without being shown.
"""

import hashlib
import sys

from qgis.core import QgsExpression


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: read_variable.py NAME", file=sys.stderr)
        return 2
    name = QgsExpression.quotedString(sys.argv[1])
    value = QgsExpression(f"env({name})").evaluate()
    if not isinstance(value, str):
        print(f"read_variable: QGIS finds no variable {sys.argv[1]}", file=sys.stderr)
        return 1
    print(f"sha256={hashlib.sha256(value.encode()).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
