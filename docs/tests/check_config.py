#!/usr/bin/env python3
"""Checks a configuration in the documents: check_config.py KIND FILE

Parses the file, and asks the command agentwire whether it knows each command line in it: with --help
at its end, a command line is parsed and not run.
"""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any


def check(command: list[str]) -> None:
    """Fails if agentwire does not know an argument."""
    program = command[0].rpartition("/")[2]
    assert program == "agentwire", f"{program} is not the command agentwire"
    subprocess.run([program, *command[1:], "--help"], check=True, stdout=subprocess.DEVNULL)


def toml(text: str) -> None:
    """Only parses the text."""
    tomllib.loads(text)


def ini(text: str) -> None:
    """Checks a unit of systemd."""
    unit = ConfigParser(strict=False, interpolation=None)
    unit.read_string(text)
    assert "Install" in unit
    if "Service" in unit:
        check(unit["Service"]["ExecStart"].split())


def dockerfile(text: str) -> None:
    """Checks the commands in the form of lists. CMD is appended to ENTRYPOINT."""
    text = text.replace("\\\n", " ")
    lists = re.findall(r"^(ENTRYPOINT|HEALTHCHECK|CMD)\b.*?(\[.*\])$", text, re.MULTILINE)
    commands = {word: json.loads(command) for word, command in lists}
    check(commands["ENTRYPOINT"] + commands["CMD"])
    check(commands["HEALTHCHECK"])


def yaml(text: str) -> None:
    """Checks the commands of Compose and of Kubernetes."""
    if importlib.util.find_spec("yaml") is None:
        print("NOT RUN: PyYAML is missing, which agenkit brings")
        return
    from yaml import safe_load_all

    for document in safe_load_all(text):
        assert isinstance(document, dict)
        for key, command in lists(document):
            match key, command:
                case "test", ["CMD", *rest]:
                    check(rest)
                case "command", ["/agentwire", *_]:
                    check(command)
                case "command" | "args", _:
                    check(["agentwire", *command])


def lists(value: Any) -> Iterator[tuple[str, list[str]]]:
    """Finds the lists in a document, with their keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, list) and all(isinstance(item, str) for item in inner):
                yield key, inner
            else:
                yield from lists(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from lists(inner)


if __name__ == "__main__":
    kind, file = sys.argv[1:]
    {"toml": toml, "ini": ini, "dockerfile": dockerfile, "yaml": yaml}[kind](Path(file).read_text())
