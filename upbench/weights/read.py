"""Reading a checkpoint file without running anything that is in it.

Checkpoints hold more than tensors: arguments, message hubs, loggers, whole models. Tensors and arrays are read; every
other class becomes an inert `Unknown` that keeps its name, so that no class of the file is imported or called.
"""

from __future__ import annotations

import io
import pickle
import re
import types
import warnings
import zipfile
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import IO, Any, cast

import numpy
import torch
from torch import _utils as rebuild

from upbench.errors import WeightsError, first_line, install

HEAD_BYTES = 4096
"""Bytes at the start of a file from which its kind is recognised."""

CHUNK_BYTES = 2**20
"""Bytes that are read at a time where a file is checked."""


class Unknown:
    """An inert stand-in for an object of a class that is not read. `origin` is the class's "module.name"."""

    origin = ""

    def __new__(cls, *arguments: object, **keywords: object) -> Unknown:
        return object.__new__(cls)

    def __init__(self, *arguments: object, **keywords: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Ignore an item of a list-like class."""

    def extend(self, values: object) -> None:
        """Ignore the items of a list-like class."""

    def add(self, value: object) -> None:
        """Ignore an item of a set-like class."""


def _rebuild_plain(function: Callable[..., Any], subclass: object, arguments: tuple[Any, ...], state: object) -> Any:
    """Rebuild a tensor of a subclass, or one with attributes, as a plain tensor."""
    return function(*arguments)


def _load_from_bytes(data: bytes) -> Any:
    """The values of a tensor that pickle wrote without torch.save, as torch.storage's function of the name."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False, pickle_module=_PICKLE)


_CLASSES: tuple[Any, ...] = (OrderedDict, defaultdict, dict, list, tuple, set, frozenset, complex, bytearray)
_ALLOWED: dict[str, Any] = {
    **{f"{one.__module__}.{one.__qualname__}": one for one in (*_CLASSES, int, float, str, bool)},
    **{
        f"torch._utils.{name}": getattr(rebuild, name)
        for name in (
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_tensor_v3",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
            "_rebuild_qtensor",
            "_rebuild_sparse_tensor",
            "_rebuild_meta_tensor_no_storage",
        )
        if hasattr(rebuild, name)
    },
    "torch._tensor._rebuild_from_type_v2": _rebuild_plain,
    "torch.storage._load_from_bytes": _load_from_bytes,
    "torch.storage.UntypedStorage": torch.UntypedStorage,  # of dtypes that have no storage class, as float8
    "torch.nn.parameter.Parameter": torch.nn.Parameter,
    "torch.Tensor": torch.Tensor,
    "torch.Size": torch.Size,
    "torch.device": torch.device,
    "torch.serialization._get_layout": torch.serialization._get_layout,
    "_codecs.encode": __import__("_codecs").encode,
}
_TORCH_VALUES = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
_NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


def _numpy_global(module: str, name: str) -> Any:
    """Return numpy's classes and functions for arrays and scalars of numbers; None for all others."""
    if module in _NUMPY_MODULES and name in ("_reconstruct", "scalar"):
        reduced = numpy.zeros(1).__reduce__()[0] if name == "_reconstruct" else numpy.float64(0).__reduce__()[0]
        return cast(Any, reduced)
    if module == "numpy" and name in ("ndarray", "dtype"):
        return getattr(numpy, name)
    if module == "numpy.dtypes":
        found = getattr(numpy.dtypes, name, None)
        return found if isinstance(found, type) and issubclass(found, numpy.dtype) else None
    return None


class Unpickler(pickle.Unpickler):
    """An unpickler that builds tensors, arrays and plain containers; every other class becomes an `Unknown`."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the class or function of a name that is safe to build, or a new `Unknown` for every other one.

        Args:
            module: Its module.
            name: Its name there.
        """
        path = f"{module}.{name}".replace("__builtin__.", "builtins.")
        if path in _ALLOWED:
            return _ALLOWED[path]
        if module == "torch" and isinstance(value := getattr(torch, name, None), _TORCH_VALUES):
            return value
        return _numpy_global(module, name) or type(name, (Unknown,), {"origin": path})


def _load(file: IO[bytes], **keywords: Any) -> Any:
    return Unpickler(file, **keywords).load()


def _loads(data: bytes, **keywords: Any) -> Any:
    return Unpickler(io.BytesIO(data), **keywords).load()


# What torch.load asks of a module that replaces `pickle`.
_PICKLE = types.ModuleType("upbench_restricted_pickle")
_PICKLE.__dict__.update(Unpickler=Unpickler, load=_load, loads=_loads, UnpicklingError=pickle.UnpicklingError)


def read_checkpoint(source: str | PathLike[str] | IO[bytes]) -> tuple[Any, str]:
    """Read a file written by torch.save, pickle or safetensors.

    Args:
        source: The path of a file, or a file object opened for reading bytes.

    Returns:
        The object in the file, with tensors on the CPU, and the name of the file for messages.

    Raises:
        WeightsError: If the file does not exist, or is of another kind; the sentence says of which.
    """
    if not isinstance(source, str | PathLike):
        name = str(getattr(source, "name", None) or "the file object")
        content = source.read()
        if content == b"" and _is_at_end(source):
            raise WeightsError(f"{name}: was read to its end already; rewind it with .seek(0)")
        if not isinstance(content, bytes):
            raise WeightsError(f"{name}: was opened as text; open it with mode 'rb'")
        return _parse(io.BytesIO(content), name), name
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(source)):
        raise WeightsError(
            f"{source}: is an address, and only files are read; download it, and give the path of the file"
        )
    path = Path(source)
    try:
        with path.open("rb") as file:
            return _parse(file, str(path)), str(path)
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise WeightsError(f"{path}: is a folder; give the file of weights in it") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None


def _is_at_end(file: IO[bytes]) -> bool:
    """Whether a file object stands behind bytes that were read or written before."""
    try:
        return file.tell() > 0
    except (OSError, AttributeError):  # a stream that does not know where it stands
        return False


def _parse(file: IO[bytes], name: str) -> Any:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**30:
        return _safetensors(file, name)
    if sentence := _other_kind(head, file):
        raise WeightsError(f"{name}: {sentence}")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch cannot find the source of classes that are not read
            if head[:1] == b"\x80" and not _is_legacy_torch(head):
                return _load(file, encoding="latin1")
            return torch.load(file, map_location="cpu", weights_only=False, pickle_module=_PICKLE)
    except Exception as error:
        if head[:1] not in (b"\x80", b"P"):
            raise WeightsError(
                f"{name}: cannot be read as weights: torch.save and pickle write no such file; it begins with the bytes {head[:8].hex(' ')}"
            ) from error
        raise WeightsError(
            f"{name}: cannot be read as weights written by torch.save ({_clean(first_line(error))}); it may be cut off: "
            f"compare its size with the original"
        ) from error


def _safetensors(file: IO[bytes], name: str) -> Any:
    try:
        import safetensors.torch
    except ImportError:
        raise WeightsError(
            f"{name}: is a safetensors file, and safetensors is not installed; {install('safetensors')}"
        ) from None
    try:
        return safetensors.torch.load(file.read())
    except Exception as error:
        raise WeightsError(f"{name}: cannot be read as safetensors ({_clean(first_line(error))})") from error


def _is_legacy_torch(head: bytes) -> bool:
    """Return whether a pickle begins with the magic number of torch's files before they were zip archives."""
    try:
        return bool(_loads(head) == torch.serialization.MAGIC_NUMBER)
    except Exception:  # noqa: BLE001 - whatever is in the way, it is no such number
        return False


def _other_kind(head: bytes, file: IO[bytes]) -> str | None:
    """Return a sentence when a file is certainly no checkpoint, by its first bytes and its archive; else None."""
    text = head.lstrip()
    if not head:
        return "cannot be read as weights: it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights; fetch them with `git lfs pull`"
    if text[:1] == b"<":
        return "is an HTML or XML page, not weights; download the file itself, not the page that shows it"
    if head[:2] == b"PK":
        return _other_archive(file)
    if head[:2] in (b"\x1f\x8b", b"BZ") or head[257:262] == b"ustar":
        return "is a compressed archive; unpack it and give the file of weights in it"
    if head[:6] == b"\x93NUMPY":
        return "is a single numpy array, not a state dict"
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "is an HDF5 file, as Keras writes them, not weights of torch"
    try:
        head[: head.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        return None
    first = re.sub(r"[^\x20-\x7e]", "", text[:60].decode("utf-8", "replace").splitlines()[0])
    printable = sum(byte in b"\t\n\r" or byte >= 32 for byte in head) == len(head)
    return f"cannot be read as weights: it is a text file that begins with {first!r}" if printable else None


def _other_archive(file: IO[bytes]) -> str | None:
    """Return what a zip archive is, unless torch.save wrote it."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            damaged = _damaged(archive)
    except (zipfile.BadZipFile, OSError, ValueError):
        return "is cut off: the end of the archive is missing; copy or download it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return (
            "is TorchScript, a program and not a state dict; if you trust it, give what it holds: "
            "upbench.load_weights(module, torch.jit.load(path).state_dict())"
        )
    if damaged:
        return f"is damaged: {damaged} does not match its checksum; copy or download it again"
    if any(name.endswith("data.pkl") for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "is an archive of numpy arrays; give what it holds: upbench.load_weights(module, dict(numpy.load(path)))"
    return f"is a zip archive that torch.save did not write; unpack it, it holds {', '.join(names[:3])}"


def _damaged(archive: zipfile.ZipFile) -> str | None:
    """The first record whose bytes are not those that were written, which torch.load would take as they are.

    None where no checksum at all is right: torch.serialization.set_crc32_options(False) writes none.
    """
    wrong, right = None, False
    for record in archive.infolist():
        if not record.file_size:
            continue
        try:
            with archive.open(record) as content:
                while content.read(CHUNK_BYTES):
                    pass
            right = True
        except (zipfile.BadZipFile, zlib.error, EOFError):
            wrong = wrong or record.filename
    return wrong if right else None


def _clean(text: str) -> str:
    """Return a text without the escape codes of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
