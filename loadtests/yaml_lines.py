"""A YAML file as plain data that knows the line of every key; a key given twice is a problem, not a silent choice."""

import copy
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

KeyPath = tuple[int | str, ...]
Problem = tuple[int, str]

_MERGE_TAG = "tag:yaml.org,2002:merge"
_NUMBER_TAGS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
# YAML 1.1 reads 010 as 8 and 1:30 as 90.
_OTHER_BASE = re.compile(r"[-+]?0[0-9_bx].*|.*:.*")
# Far above any profile, far below what aliases of aliases can grow to.
_MOST_VALUES = 10_000


@dataclass(frozen=True)
class Document:
    """What a file holds, the line of each value, and what was wrong before its content was looked at.

    A problem is its line and its text, `file:line: key: what`.
    """

    name: str
    data: Any
    lines: dict[KeyPath, int]
    problems: list[Problem] = field(default_factory=list)

    def copy_data(self) -> Any:
        """A copy that may be changed."""
        return copy.deepcopy(self.data)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """One problem at a key, at the line of that key or of the nearest one around it."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known, 1)
        key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
        return line, f"{self.name}:{line}: {key + ': ' if key else ''}{text}"


def read_document(text: str, name: str) -> Document:
    """Reads one YAML document with the safe loader's types; what is not YAML becomes a problem with its line."""
    lines: dict[KeyPath, int] = {(): 1}
    problems: list[Problem] = []
    document = Document(name, None, lines, problems)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        data = None if node is None else _construct(loader, node, (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problems.append((line, f"{name}:{line}: got text that is not YAML, want valid YAML: {error.problem}"))
        data = None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a date that is none, a number of thousands of digits.
        problems.append((1, f"{name}:1: got text that is not YAML, want valid YAML: {error}"))
        data = None
    except RecursionError:
        problems.append((1, f"{name}:1: got values nested without end, want a profile's few levels"))
        data = None
    return Document(name, data, lines, problems)


def _construct(loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath, document: Document) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if len(document.lines) > _MOST_VALUES:
        raise yaml.MarkedYAMLError(problem=f"over {_MOST_VALUES:,} values", problem_mark=node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, item, (*path, index), document) for index, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        if node.tag in _NUMBER_TAGS and _OTHER_BASE.fullmatch(node.value):
            text = f"{node.value} is a number of another base here; write it in decimal, or a duration as 1m30s"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)
        return loader.construct_object(node, deep=True)
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE_TAG:
            mark = key_node.start_mark
            raise yaml.MarkedYAMLError(problem="merge keys (<<) are not read; write it out", problem_mark=mark)
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            key = str(key)
        line = key_node.start_mark.line + 1
        if key in result:
            first = document.lines[(*path, key)]
            text = f"got a key given twice (first on line {first}), want it once"
            key_text = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in (*path, key)).lstrip(".")
            document.problems.append((line, f"{document.name}:{line}: {key_text}: {text}"))
            continue
        document.lines[(*path, key)] = line
        result[key] = _construct(loader, value_node, (*path, key), document)
    return result
