"""What an output may not be: a file that the command reads, a source file, or a file that holds something else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from upbench import files
from upbench.errors import OutputError

OUTPUTS = {
    "output_files": "--output",
    "output_file": "--output",
    "save": "--save",
    "junit": "--junit",
    "record": "--record",
}
"""The parameters of commands that are written to, with the options that give them."""

_SOURCES = {
    ".py": "a Python file",
    ".pyi": "a Python file",
    ".ipynb": "a notebook",
    ".c": "a source file",
    ".cc": "a source file",
    ".cpp": "a source file",
    ".cu": "a source file",
    ".h": "a source file",
    ".sh": "a shell script",
    ".toml": "a TOML file",
    ".cfg": "a file of settings",
    ".ini": "a file of settings",
    ".pt": "a file of weights",
    ".pth": "a file of weights",
    ".ckpt": "a file of weights",
    ".safetensors": "a file of weights",
    ".onnx": "a model",
    ".pt2": "a model",
}
_SPEC = re.compile(r"^(upsampler|base|stages)\s*:", re.MULTILINE)
_NAMES = {".md": "Markdown", ".markdown": "Markdown", ".tex": "LaTeX", ".html": "HTML", ".htm": "HTML", ".csv": "CSV"}
"""What a file holds, by its ending; any other one holds text."""


def output_path(typed: str) -> Path:
    """Return the path of an output. Raises OutputError for a name that ends in /, of a folder, which Path forgets."""
    path = Path(typed)
    if str(typed).endswith(("/", "/.")) and not path.is_dir():
        if not path.exists():
            files.check_folder(path / "file", typed=typed)
        raise OutputError(f"output {typed} is no folder; leave out the / at its end")
    return path


def check_apart(given: Mapping[str, Any]) -> None:
    """Raise OutputError when an output is a file that the same command reads, or writes as another output.

    Args:
        given: the parameters of a command by name, as they were given.
    """
    outputs = [(option, path) for name, option in OUTPUTS.items() for path in _paths(given.get(name))]
    read = [path for name, value in given.items() if name not in OUTPUTS for path in _files(value)]
    for n, (option, path) in enumerate(outputs):
        if any(_same(path, other) for other in read):
            raise OutputError(
                f"output {path} is read by this command, which would overwrite it; choose another with {option}"
            )
        for other_option, other in outputs[n + 1 :]:
            if _same(path, other):
                twice = f"for {option} and {other_option}" if option != other_option else f"twice with {option}"
                raise OutputError(f"output {path} is given {twice}; choose two files")


def check_replaceable(path: Path, form: str, option: str = "--output", overwrite: bool = False) -> None:
    """Raise OutputError when a file would be lost: one that upbench did not write, or measurements or specs in another format.

    A table that upbench wrote is replaced, and so is any file that it wrote in the same format.

    Args:
        path: of the file that will be written; it need not be there.
        form: what will be written: a format of tables, "yaml", "baseline", "junit", "text", or that of a picture.
        option: by which it was given, for the sentence.
        overwrite: whether whatever the file holds may be lost.
    """
    from upbench.report.formats import latex_seal

    what = _SOURCES.get(path.suffix.lower())
    if what is not None:
        raise OutputError(f"output {path} has the name of {what}, and no result is one; choose another with {option}")
    if overwrite or not path.is_file():
        return
    try:
        content = path.read_bytes()
    except OSError:
        return  # said by files.check_writable where it cannot be written either
    if content.strip() and (what := _held(path, content, form)) is not None:
        edited = path.suffix.lower() == ".tex" and latex_seal.is_unedited(content.decode("utf-8", "replace")) is False
        caption = (
            "give its caption with --caption and its label with --label and take the file away, " if edited else ""
        )
        raise OutputError(
            f"output {path} holds {what}, which would be lost; {caption}choose another with {option}, or "
            f"{'give --overwrite' if option == '--output' else 'remove it'}"
        )


def check_unedited(path: Path, text: str) -> None:
    """Raise OutputError when a file holds another text than the one to be written, as a spec that was edited does."""
    if path.is_file() and (content := path.read_bytes()).strip() and content.decode("utf-8", "replace") != text:
        raise OutputError(
            f"output {path} holds another spec or an edited one, which would be lost; choose another with --output, or "
            "give --overwrite"
        )


def _held(path: Path, content: bytes, form: str) -> str | None:
    """What a file holds that writing in a format would destroy; None where it may be replaced."""
    from upbench.cli import own_files
    from upbench.records import documents, file_kinds

    text = file_kinds.text_of(content)
    if text is None or content.startswith(tuple(start for start, _ in file_kinds.MAGIC)):
        return None if own_files.is_binary(path, content, form) else _foreign(file_kinds.describe(path, content))
    if file_kinds.other_lines(content) is not None:
        return "results of upbench"
    data = documents.json_of(path)
    if data is None and text.lstrip()[:1] in ("{", "[") and documents.is_results_file(content, path):
        return "measured records"
    if isinstance(data, Mapping | Sequence) and not isinstance(data, str):
        return _document(path, data, form)
    if path.suffix.lower() in (".yaml", ".yml"):
        return None if form == "yaml" else "YAML"
    if _SPEC.search(text) and form != "yaml":
        return "a spec"
    if form == "yaml" or own_files.is_text(text):  # what was edited in YAML is found by `check_unedited`
        return None
    return _foreign(_NAMES.get(path.suffix.lower(), "text"))


def _foreign(what: str) -> str:
    return f"{what} that upbench did not write, or that was edited"


def _document(path: Path, data: Any, form: str) -> str | None:
    """What a JSON document is that writing in a format would destroy."""
    from upbench.cli import own_files

    is_baseline = isinstance(data, Mapping) and {"kind", "upsamplers"} <= set(data)
    if is_baseline:
        return None if form == "baseline" else "a baseline of `upbench compare --save`"
    if path.suffix == ".jsonl":
        return "measured records"
    ours = own_files.is_document(data)
    if form == "json" and ours:
        return None
    return "JSON of upbench" if ours else "a JSON document that upbench did not write"


def _files(value: Any) -> Iterator[Path]:
    """The files that an argument names, or each of several."""
    if isinstance(value, str | Path):
        path = Path(value)
        try:
            if path.is_file():
                yield path
        except (OSError, ValueError):  # too long for a name, or with a zero byte in it
            return
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _files(each)


def _paths(value: Any) -> list[Path]:
    """The outputs that an option was given: none, one or several."""
    listed = value if isinstance(value, list | tuple) else [value]
    return [path for path in listed if isinstance(path, Path)]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()
