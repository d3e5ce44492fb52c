"""What runs in the worker of a session: the calls of `calls.Session`, each a message, done by a `Local` one."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from upbench import interrupts
from upbench.errors import SpecError, UpbenchError, whole_traceback
from upbench.models.job import ModelJob
from upbench.papers import Host
from upbench.session.local import Local
from upbench.specs import run_spec
from upbench.specs.run_spec import RunSpec
from upbench.sweeping import worker
from upbench.sweeping.worker import Message, Say

Calls = Mapping[str, Callable[..., dict[str, Any]]]


def main(socket: int, lifeline: int, parent: int) -> None:
    """Do what the parent asks until it closes the socket.

    Args:
        socket: File descriptor of the socket.
        lifeline: File descriptor of a pipe that ends with the parent.
        parent: Process id of the parent.
    """
    worker.serve(socket, lifeline, parent, measure, worker.where)


def measure(message: Message, say: Say, calls: Calls | None = None) -> Message:
    """Do one thing, and return what came of it or the error that it raised. Ctrl-C ends it.

    Args:
        message: What is to be done under `do`, and its arguments.
        say: Called with what is being done, and the part of the whole that is done.
        calls: What can be done, by name; None for the calls of a session.
    """
    do = message.pop("do")
    try:
        interrupts.raise_after_imports(always=True)
        if (threads := message.pop("threads")) is not None:
            import torch

            torch.set_num_threads(threads)
        return (_CALLS if calls is None else calls)[do](say, **message)
    except KeyboardInterrupt:
        return {"interrupted": True}
    except UpbenchError as error:
        worker.complain(error)
        mistakes = list(error.mistakes) if isinstance(error, SpecError) else None
        return {"error": {"kind": type(error).__name__, "text": str(error), "mistakes": mistakes}}
    except BaseException as error:  # noqa: BLE001 - the parent raises it again, whatever it is
        return {"traceback": whole_traceback(error)}
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _validate(say: Say, specs: Sequence[Message]) -> Message:
    Local().validate(_read(specs))
    return {}


def _check(say: Say, specs: Sequence[Message], like: Message | None, **more: bool) -> Message:
    found = Local().check(_read(specs), None if like is None else run_spec.load(like), say, **more)
    return {"checks": [asdict(check) for check in found.checks], "unrepeatable": sorted(found.unrepeatable)}


def _output(say: Say, specs: Sequence[Message]) -> Message:
    found = Local().output(*_read(specs))
    return {"where": found.where, "output": found.output and found.output.model_dump(mode="json")}


def _compare(say: Say, specs: Sequence[Message], timed: bool) -> Message:
    return {"records": [record.to_dict() for record in Local().compare(_read(specs), say, timed)]}


def _compare_in_host(
    say: Say, necks: Sequence[Sequence[Message]], host: Message, by_stage: bool, timed: bool
) -> Message:
    specs = [_read(one) for one in necks]
    found = Local().compare_in_host(specs, Host.model_validate(host, strict=False), by_stage, say, timed)
    return {
        "totals": [one.total.to_dict() for one in found],
        "stages": [[record.to_dict() for record in one.stages] for one in found],
    }


def _compare_in_model(say: Say, job: Message) -> Message:
    return {"rows": [one.to_dict() for one in Local().compare_in_model(ModelJob(**job), say)]}


_CALLS: Calls = {
    "validate": _validate,
    "check": _check,
    "output": _output,
    "compare": _compare,
    "compare_in_host": _compare_in_host,
    "compare_in_model": _compare_in_model,
}


def _read(specs: Sequence[Message]) -> list[RunSpec]:
    return [run_spec.load(spec) for spec in specs]
