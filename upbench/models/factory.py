"""Builds a model from a name or from package.module:callable, without fetching any weights."""

from __future__ import annotations

import importlib.util
import inspect
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import nn

from upbench.errors import SpecError, UpbenchError, first_line, install, suggestion
from upbench.models import catalogue
from upbench.models.replacing import ATTRIBUTE
from upbench.user_code import modules
from upbench.weights.read import read_checkpoint

FETCHING = ("weights", "weights_backbone", "encoder_weights", "pretrained", "pretrained_backbone")
"""Arguments of models that fetch weights unless they are null or false."""

LISTS = {
    "torchvision/": "torchvision.models:list_models",
    "smp/": "segmentation_models_pytorch.encoders:get_encoder_names",
    "timm/": "timm:list_models",
}
"""Begin of a model's name -> what lists the names of its library that the rest of it may have."""


LIBRARIES = ("torchvision", "segmentation_models_pytorch", "transformers", "timm")
"""What the extra `hosts` installs."""


class _Download(Exception):
    """A model wanted to reach the network while it was built."""


def build(name: str, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a model with random weights, in evaluation mode.

    Args:
        name: A name as "torchvision/fasterrcnn_resnet50_fpn", or "package.module:callable", which returns a module.
        arguments: Keyword arguments of what builds it.

    Returns:
        The model.

    Raises:
        UpbenchError: If the package is missing, the model cannot be built, or wants to fetch weights.
    """
    given = dict(arguments or {})
    if ":" in name and not all(name.split(":", 1)):
        raise UpbenchError(f"model {name!r} is neither a name, as smp/unet-resnet50, nor package.module:callable")
    with _scripts_unremarked():
        make = _call(name, given) if ":" in name else _named(name, given)
    try:
        with _no_network(), _scripts_unremarked(), redirect_stdout(sys.stderr):
            model = make()
    except UpbenchError:
        raise
    except Exception as error:  # whatever a model raises
        if sentence := _operators_missing(name, error):
            raise UpbenchError(sentence) from error
        if _download(error):
            fetching = ", ".join(f"--model-arg {key}=null" for key in FETCHING[:3])
            raise UpbenchError(
                f"{name} wants to fetch weights while it is built; turn that off, as {fetching}, and give weights by --weights FILE"
            ) from error
        raise UpbenchError(_unlisted(name) or f"{name} could not be built: {first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise UpbenchError(f"{name} returned {type(model).__name__}, but must return a torch.nn.Module")
    return model.eval()


def _named(name: str, given: dict[str, Any]) -> Callable[[], Any]:
    entry, parts = catalogue.entry(name)
    return lambda: _from_entry(entry, parts, given)


def _unlisted(name: str) -> str | None:
    """Return the sentence for a model or an encoder that a library does not have; None where it has it."""
    path = next((path for begin, path in LISTS.items() if name.startswith(begin) and ":" not in name), None)
    if path is None:
        return None
    _, parts = catalogue.entry(name)
    (part,) = parts.values()
    names = list(load(path)())
    if part in names:
        return None
    lister = path.replace(":", ".")
    return f"{name}: there is no {part!r} among the {len(names)} names of {lister}(){suggestion(part, names)}"


def _from_entry(entry: Mapping[str, Any], parts: Mapping[str, str], given: Mapping[str, Any]) -> Any:
    target = load(entry["call"])
    arguments = {
        key: value.format(**parts) if isinstance(value, str) else value for key, value in entry.get("args", {}).items()
    }
    if "config" in entry:
        config = dict(entry["config"])
        nested = {key: _from_entry(value, parts, {}) for key, value in config.items() if key not in ("call", "args")}
        return target(load(config["call"])(**config["args"], **nested, **given))
    if "optional" in entry:
        try:
            return target(**arguments, **entry["optional"], **given)
        except TypeError as error:
            if not any(key in str(error) for key in entry["optional"]):
                raise
    return target(**{**arguments, **given})


def _call(path: str, given: dict[str, Any]) -> Callable[[], Any]:
    target = load(path)
    try:
        known: Mapping[str, inspect.Parameter] = inspect.signature(target).parameters
    except (TypeError, ValueError):
        known = {}
    for key in FETCHING:
        if key in known and key not in given:
            given[key] = False if key.startswith("pretrained") else None
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    if known and not takes_any and (wrong := [key for key in given if key not in known]):
        allowed = ", ".join(known)
        raise SpecError([f"--model-arg {key}: {path} has no such argument; it has: {allowed}" for key in wrong])
    return lambda: target(**given)


def load_weights(model: nn.Module, path: str) -> dict[str, Any]:
    """Load the weights of a file into a model, all of them.

    Args:
        model: The model.
        path: A checkpoint: a state dict, or a mapping with one under "state_dict" or "model". It may be of the model after
            its upsampling was replaced.

    Returns:
        What the file has for the upsamplers of a replaced model, by their keys in `model.upsamplers`; empty for others.

    Raises:
        UpbenchError: If the file cannot be read, or its weights are not those of the model.
    """
    state, _ = read_checkpoint(path)
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    begin = f"{ATTRIBUTE}."
    theirs = {} if hasattr(model, ATTRIBUTE) else {key: value for key, value in state.items() if key.startswith(begin)}
    own = {key: value for key, value in state.items() if key not in theirs}
    missing, surplus = model.load_state_dict(own, strict=False)
    if missing or surplus:
        some = ", ".join([*missing, *surplus][:3])
        raise UpbenchError(
            f"--weights {path}: does not fit {type(model).__name__}: {len(missing)} weights are missing in it and "
            f"{len(surplus)} unknown to the model ({some}, ...)"
        )
    return {key.removeprefix(begin): value for key, value in theirs.items()}


def load(path: str) -> Any:
    """Return what "package.module:name" stands for; the current folder is searched as well.

    Args:
        path: The path.

    Raises:
        UpbenchError: If the module is not there, does not load, or has no such name; or if that builds nothing.
    """
    module_name = path.partition(":")[0]
    library = module_name.partition(".")[0]
    if library in LIBRARIES and importlib.util.find_spec(library) is None:
        raise UpbenchError(f"{library} is not installed; {install('hosts')}")
    try:
        with redirect_stdout(sys.stderr):
            found = modules.load("model", path, "class or function")
    except UpbenchError as error:
        if sentence := _operators_missing(module_name, error):
            raise UpbenchError(sentence) from error
        raise
    if isinstance(found, nn.Module):
        kind = type(found).__qualname__
        raise UpbenchError(
            f"{path} is an object of the class {kind}; give the class, or a function that returns the model"
        )
    if not callable(found):
        raise UpbenchError(
            f"{path} is {type(found).__name__}, but must be something that builds a model when it is called"
        )
    return found


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _download(error: BaseException) -> bool:
    return any(isinstance(cause, _Download) for cause in _causes(error))


def _operators_missing(name: str, error: BaseException) -> str | None:
    """Return the sentence for a torchvision that was built for another build of torch; None for other errors."""
    if not any("torchvision::" in str(cause) and "does not exist" in str(cause) for cause in _causes(error)):
        return None
    return (
        f"{name} needs torchvision, whose operators do not load with torch {torch.__version__}: its wheel was built for "
        f"another build of torch; run: {_matching_torchvision(torch.__version__)}"
    )


def _matching_torchvision(torch_version: str) -> str:
    """Return the command that installs the torchvision of a torch: 0.(N+15) is that of 2.N, from the index of its build."""
    release, _, build = torch_version.partition("+")
    _, minor, patch = [*release.split("."), "0", "0"][:3]
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build.startswith(("cpu", "cu")) else ""
    wanted = f"torchvision==0.{int(minor) + 15}.{patch}" if minor.isdigit() and patch.isdigit() else "torchvision"
    return f"pip install --force-reinstall --no-deps {wanted}{index}"


@contextmanager
def _scripts_unremarked() -> Iterator[None]:
    """Hide that torch.jit.script is deprecated: models' libraries use it, and who measures them cannot change that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is ")
        yield


@contextmanager
def _no_network() -> Iterator[None]:
    """Refuse every connection while a model is built."""

    def refused(*_: Any, **__: Any) -> Any:
        raise _Download

    before = socket.getaddrinfo, socket.socket.connect
    socket.getaddrinfo = refused
    socket.socket.connect = refused  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.getaddrinfo = before[0]
        socket.socket.connect = before[1]  # type: ignore[method-assign]
