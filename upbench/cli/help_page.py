"""The page that --help prints: options in panels, then examples. Drawn by typer's plain writer, which needs no rich."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from upbench.cli import misplaced
from upbench.cli.options import HOW, OUTPUT, WHAT
from upbench.errors import SpecError

PANELS = (WHAT, HOW, "Gates", OUTPUT)
"""The panels in their order, by how their titles begin."""
LIKE = 0.75
"""How much an unknown option is like one that there is, from 0 to 1, when that one was meant."""
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "list": (
        ("upbench list", "every upsampler: paper, guided or not, scales, parameters"),
        ("upbench list --shapes", "the named shapes that --shape takes"),
        ("upbench list -o upsamplers.md -o upsamplers.csv", "the same in two files"),
    ),
    "show": (
        ("upbench show ldaaqu -o ldaaqu.yaml", "the full default spec, ready to edit"),
        ("upbench show mine.up:Up", "that of a class of your own"),
        ("upbench show fade --notes", "where paper and released code differ"),
    ),
    "profile": (
        ("upbench profile ldaaqu --shape 256x60x60", "everything about one upsampler"),
        ("upbench profile ldaaqu.yaml --set theta=5 --layers", "a spec file, layer by layer"),
        ("upbench profile mine.up:Up --by-op", "the operators that the MACs are of"),
    ),
    "compare": (
        ("upbench compare ldaaqu 'dysample*' carafe", "side by side, in interleaved rounds"),
        ("upbench compare all --fit latency=5ms,params=50k --sort latency", "which of them fit"),
        ("upbench compare carafe fade --host faster-rcnn-r50 --exact", "counts in a whole model, no timing"),
    ),
    "diff": (
        ("upbench diff old.jsonl new.jsonl", "what changed between two results files"),
        ("upbench diff baseline.json now.json --strict", "as a gate, where unsure fails"),
    ),
    "sweep": (
        ("upbench sweep sweeps/theta.yaml --dry-run", "the cells, and how long they take"),
        ("upbench sweep sweeps/theta.yaml", "writes results/theta.jsonl, .md and .csv"),
        ("upbench sweep sweeps/theta.yaml --retry all -o theta.jsonl -o theta.tex", "failed cells again"),
    ),
    "quality": (
        ("upbench quality bilinear carafe dysample --dry-run", "the runs, and how long they take"),
        ("upbench quality bilinear mine.up:Up --data cutouts", "a class of your own, on pictures with masks"),
    ),
    "table": (
        ("upbench table results/theta.jsonl", "the table again, without measuring"),
        ("upbench table results/theta.jsonl -o a.tex --caption Range --label tab:a", "for a paper"),
        ("upbench table results/theta.jsonl --columns time --sort latency", "everything about time"),
    ),
    "effects": (
        ("upbench effects results/theta.jsonl", "what each axis does, and the Pareto front"),
        ("upbench effects results/theta.jsonl --metrics latency,params --part front", "the front of two"),
    ),
    "plot": (
        ("upbench plot results/theta.jsonl -o theta.pdf", "a metric along an axis"),
        ("upbench plot results/theta.jsonl --kind pareto -o front.png -o front.pdf", "accuracy against cost"),
    ),
    "report": (
        ("upbench report results/theta.jsonl -o theta.html", "tables and pictures of one sweep"),
        ("upbench report results/*.jsonl -o report.html", "a section for each sweep"),
    ),
    "reproduce": (
        ("upbench reproduce --list", "the published tables"),
        ("upbench reproduce lda-aqu/table1", "its Params and FLOPs, with ours beside them"),
        ("upbench reproduce lda-aqu/table1 --row FADE --convention F3", "one sum, stage by stage"),
    ),
    "export": (
        ("upbench export ldaaqu -o ldaaqu.onnx", "a file for onnxruntime, for maps of any size"),
        ("upbench export carafe --shape 256x40x25 --fixed -o carafe.pt2", "one size, for torch.export"),
    ),
    "deploy": (
        ("upbench deploy carafe ldaaqu --to onnxruntime,openvino", "what runs where, how rightly and how fast"),
        ("upbench deploy --record deploy.jsonl -o deploy.md", "every upsampler in every runtime, cell by cell"),
    ),
    "sites": (
        ("upbench sites mine.model:Net --input 224x224", "where a model upsamples feature maps"),
        ("upbench sites mine.model:Net --input 224x224 -o sites.md", "the same in a file"),
    ),
    "env": (
        ("upbench env", "where measurements are made"),
        ("upbench env --calibrate", "what this machine can do, and can tell apart"),
    ),
}
"""Of each command what one types, and what that does."""


class Command(TyperCommand):
    """A command whose help has its options in panels, and examples below."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; say of an unknown option which command has it, or that parameters are written otherwise."""
        try:
            if not ctx.resilient_parsing:
                misplaced.check_assignments(args)
                _refuse_repeated(self.make_parser(ctx).parse_args(list(args))[2], str(ctx.info_name))
            return super().parse_args(ctx, args)
        except Exception as error:  # the class of an unknown option has no public name in typer
            name = str(getattr(error, "option_name", ""))
            takes = {option for param in self.params for option in param.opts}
            others = misplaced.having(name, ctx.parent.command) if ctx.parent else []
            if others or (name and "--set" in takes and not difflib.get_close_matches(name, takes, 1, LIKE)):
                vars(error)["message"] += misplaced.advice(name, others, "--set" in takes)
                vars(error)["possibilities"] = None
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then the options of each panel under its title."""
        arguments, panels = [], dict[str, list[tuple[str, str]]]()
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                arguments.append(record)
            else:
                other = OUTPUT if param.name in ("debug", "help") else WHAT
                panels.setdefault(getattr(param, "rich_help_panel", None) or other, []).append(record)
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        for title in sorted(panels, key=_order):
            with formatter.section(title):
                formatter.write_dl(panels[title])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        examples = EXAMPLES.get(str(ctx.info_name), ())
        if examples:
            with formatter.section("Examples"):
                for line, what in examples:
                    formatter.write(f"  {line}\n      {what}\n")


def _refuse_repeated(given: Sequence[Any], command: str) -> None:
    """Refuse what takes one value and stands twice: the last would be taken, and the others lost without a word.

    Args:
        given: The parameters of a command line, in its order, one for each time that it was given.
        command: Its name.

    Raises:
        SpecError: With a sentence for each such option.
    """
    mistakes = []
    for option in dict.fromkeys(given):
        many = given.count(option)
        if many == 1 or option.param_type_name != "option" or option.multiple or option.is_flag:
            continue
        listed = str(option.metavar or "").endswith("...")
        leave = "write all of them in one, with commas between them" if listed else "leave all but one out"
        axis = _as_axis(option.name) if command in ("compare", "profile", "sweep") else ""
        mistakes.append(f"{option.opts[-1]}: given {many} times, but it takes one value; {leave}{axis}")
    if mistakes:
        raise SpecError(mistakes)


def _as_axis(name: str) -> str:
    """Return how several values of a key of a spec are measured; empty for other options."""
    several = name in ("shape", "batch", "scale", "dtype", "mode", "threads", "backend")
    return f"; several values are an axis of a sweep: `grid: {{{name}: [...]}}`" if several else ""


def _order(title: str) -> int:
    return next((n for n, name in enumerate(PANELS) if title.startswith(name)), len(PANELS))
