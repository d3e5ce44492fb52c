"""Command lines of an upbench that is not quite the one that is installed: processes that are forked off one that has torch.

Each begins where the command does, in `upbench.__main__.main`; what it prints stands in files. Python was started, torch imported and
upbench changed once for all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import forked_workers

ROOT = Path(__file__).parent.parent
FORKS = """
import json, os, sys
folder, lines = sys.argv[1], json.loads(sys.argv[2])
{prepare}
import torch._dynamo, torch._inductor, upbench.benchmark.run
from upbench.__main__ import main
from upbench.cli import app
for n, line in enumerate(lines):
    child = os.fork()
    if not child:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{{folder}}/{{n}}.{{name}}", os.O_CREAT | os.O_WRONLY), number)
        sys.argv[1:], code = line, 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # without the second that Python takes to let go of torch
    with open(f"{{folder}}/{{n}}.code", "w") as file:
        file.write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""


def forked(
    folder: Path,
    *lines: Sequence[object],
    prepare: str,
    environment: Mapping[str, str] | None = None,
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands one after another, and return what came of each.

    Args:
        folder: A new folder for what they print.
        lines: The words of each command, without `upbench`.
        prepare: Python code that runs once, before anything of upbench is imported but what it imports itself.
        environment: Environment variables; by default those of this process.
    """
    folder.mkdir()
    words = [[str(word) for word in line] for line in lines]
    code = FORKS.format(prepare=prepare)
    given = {**(os.environ if environment is None else environment), "PYTHONPATH": str(ROOT)}
    assert forked_workers.python(code, [str(folder), json.dumps(words)], ROOT, given) == 0

    def read(n: int, name: str) -> str:
        return (folder / f"{n}.{name}").read_text()

    return [
        subprocess.CompletedProcess(line, int(read(n, "code")), read(n, "out"), read(n, "err"))
        for n, line in enumerate(words)
    ]
