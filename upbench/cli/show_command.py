"""`upbench show NAME`: the complete default spec as YAML, ready to save and edit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from upbench import registry
from upbench.cards import Card
from upbench.cli import completion, drafts, existing_files, options, output
from upbench.errors import UpbenchError
from upbench.records import file_kinds
from upbench.report import paper_differences as notes_page


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=completion.upsamplers, help="An upsampler, or package.module:Class."
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=options.OUTPUT, help="Print JSON instead of YAML.")
    ] = False,
    notes: options.Notes = False,
    output_files: options.Outputs = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Print the full default spec of an upsampler as YAML."""
    targets: list[Path | None] = [*output_files] if output_files else [None]
    forms = {path: "text" if notes else "json" if as_json or _is_json(path) else "yaml" for path in targets}
    for path, form in forms.items():
        output.check(path, form, overwrite=overwrite)
    if drafts.is_file(name):
        raise UpbenchError(_of_file(name))
    card = registry.get(name)
    if notes:
        for path in forms:
            output.emit(_notes(card), path)
        return
    from upbench.specs import run_spec as spec
    from upbench.sweeping import axes

    # What has no default is left open, and refused only when it is measured.
    needed = any(param.required for param in card.params)
    whole = axes.completed({"upsampler": name}, card) if needed else spec.default(name).to_dict()
    data: dict[str, Any] = {key: value for key, value in whole.items() if value is not None}
    # They follow from the shape: a file that repeats them is refused as soon as its shape is edited.
    sizes: dict[str, Any] = {key: data.pop(key) for key in ("channels", "guide_channels") if key in data}
    texts = {
        path: json.dumps(data, indent=2) if form == "json" else _yaml(card, data, sizes) for path, form in forms.items()
    }
    for path, text in texts.items():
        if path is not None and forms[path] == "yaml" and not overwrite:
            existing_files.check_unedited(path, text)
    for path, text in texts.items():
        output.emit(text, path)


def _of_file(name: str) -> str:
    """Return a sentence on a file that was given instead of a name; it advises to measure nothing but a spec."""
    from upbench.specs import yaml_file

    refused = "show takes the name of an upsampler, not a file"
    if name.lower().endswith((".yaml", ".yml", ".json")):
        return f"{refused}; `upbench profile {name}` measures a spec file"
    if known := yaml_file.other(Path(name), "an upsampler"):
        return f"{refused}; {name} {known}"
    try:
        what = file_kinds.describe(Path(name), Path(name).read_bytes())
    except OSError:
        return refused
    more = file_kinds.advice(Path(name))
    return f"{refused}; {name} is {what}{f' ({more})' if more else ''}, and `upbench list` has the names"


def _is_json(path: Path | None) -> bool:
    return path is not None and path.suffix.lower() == ".json"


def _yaml(card: Card, data: dict[str, Any], sizes: dict[str, Any]) -> str:
    """Return the spec with a comment for every parameter: what it does and what is allowed; sizes are comments themselves."""
    head = [f"# {card.name}: {card.summary}" if card.summary else f"# {card.name}"]
    if card.paper:
        head.append(f"# {card.paper.title} ({card.paper.venue} {card.paper.year})")
    lines = yaml.safe_dump({k: v for k, v in data.items() if k != "params"}, sort_keys=False).splitlines()
    params = ["params:" if card.params else "params: {}"]
    for param in card.params:
        if param.required:
            params.append(f"  # {param.name}:".ljust(26) + f"  # has no default: give it; {param.allowed()}")
            continue
        value = yaml.safe_dump(data["params"][param.name], default_flow_style=True).splitlines()[0]
        doc = f"{param.doc}; {param.allowed()}" if param.doc else param.allowed()
        params.append(f"  {param.name}: {value}".ljust(26) + f"  # {doc}")
    follow = {"channels": "by default those of the shape", "guide_channels": "by default those that fit the shape"}
    written = [f"# {key}: {value}".ljust(26) + f"  # {follow[key]}" for key, value in sizes.items()]
    at = next(n for n, line in enumerate(lines) if line.startswith("input:"))
    return "\n".join([*head, *lines[:1], *written, *lines[1:at], *params, *lines[at:]]) + "\n"


def _notes(card: Card) -> str:
    head = f"{card.name}: where the paper and the released code differ"
    source = f"released code: {card.paper.code}" if card.paper and card.paper.code else None
    return "\n".join([head, *([source] if source else []), *notes_page.lines(card)]) + "\n"
