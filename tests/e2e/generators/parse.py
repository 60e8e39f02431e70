"""Parse generated code with tree-sitter: `python parse.py FOLDER...`. Exit with 1 if a file can't be parsed.

It runs in this folder's own environment. No compiler of Kotlin, Swift or Dart is needed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import tree_sitter_dart
import tree_sitter_kotlin
import tree_sitter_swift
from tree_sitter import Language, Node, Parser

PARSERS = {
    ".kt": Parser(Language(tree_sitter_kotlin.language())),
    ".swift": Parser(Language(tree_sitter_swift.language())),
    ".dart": Parser(Language(tree_sitter_dart.language())),
}


def main(folders: list[str]) -> int:
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*")) if file.suffix in PARSERS]
    errors = [f"{file}:{line}: {text}" for file in files for line, text in syntax_errors(file)]
    sys.stdout.writelines(f"{line}\n" for line in (*errors, f"{len(files)} files parsed, {len(errors)} errors"))
    return 1 if errors or not files else 0


def syntax_errors(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each node that is not in the grammar or that misses a token."""
    waiting: list[Node] = [PARSERS[file.suffix].parse(file.read_bytes()).root_node]
    while waiting:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            yield node.start_point.row + 1, (node.text or b"").decode()[:100] or f"{node.type} is missing"
        elif node.has_error:
            waiting += reversed(node.children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
