"""Records that stay in their results file: what tables ask of thousands of cells, without holding any samples.

Of each record a few values are in memory, the rest is packed, and its samples are read from the file again when
somebody needs them. The whole of a record is unpacked for one look at it; only the last few are kept.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from upbench.errors import StoreError
from upbench.records import json_lines, store
from upbench.records.documents import Contents
from upbench.records.record import Environment, Record, from_dict, from_json, parse
from upbench.records.store import Identity, identity

KEPT = 64
"""How many unpacked records of a file are in memory."""
RESIDENT = ("label", "axes", "status", "sweep", "noise_floor", "accuracy")
"""The fields of a record that are always in memory: those by which cells are named, grouped and ordered."""
_NUMBERS = itertools.count()
Value = TypeVar("Value", bound=Hashable)
_FACTS: list[Callable[[Record], Hashable]] = []
"""The readers of what is asked of every record over and over; see `fact`."""


def fact(read: Callable[[Record], Value]) -> Callable[[Record], Value]:
    """Return a reader that looks at a stored record once, and reads all other facts in the same look.

    Their values stay in memory, equal ones once, until the record goes.

    Args:
        read: Reads a small value that cannot change, and none of the samples.
    """
    number = len(_FACTS)
    _FACTS.append(read)

    @wraps(read)
    def known(record: Record) -> Value:
        if not isinstance(record, StoredRecord):
            return read(record)
        found: Value = record.facts(number)[number]
        return found

    return known


class StoredSamples(Sequence[float]):
    """The samples of a record in a file: seconds per call, read anew each time and never kept.

    Args:
        file: The file.
        offset: Byte at which the line of the record begins.
        size: How many there are.
    """

    __slots__ = ("file", "offset", "size")

    def __init__(self, file: RecordFile, offset: int, size: int) -> None:
        self.file, self.offset, self.size = file, offset, size

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        return self._read()[index]

    def __iter__(self) -> Iterator[float]:
        return iter(self._read())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self._read(), dtype=dtype)

    def _read(self) -> list[float]:
        found: list[float] = self.file.line(self.offset)["latency"]["samples_s"]
        return found


def identity_of(samples: Sequence[float]) -> Hashable:
    """Return what tells samples from all others: their place in a file as it was read, or a hash of them."""
    if isinstance(samples, StoredSamples):
        return samples.file.number, samples.offset
    return hashlib.blake2b(array("d", samples).tobytes(), digest_size=16).digest()


class StoredRecord(Record):
    """A record in a results file. Its fields are those of `Record`; but a few, they are unpacked when they are read."""

    def __getattr__(self, name: str) -> Any:
        state = object.__getattribute__(self, "__dict__")
        if name == "environment" and "_where" in state:
            where: Environment = state["_where"]
            return where.model_copy(update={"load": state["_load"]})
        if name in Record.model_fields and "_file" in state:
            return getattr(state["_file"].whole(state["_offset"], state["_packed"]), name)
        raise AttributeError(name)

    @property
    def key(self) -> str:
        """Hash of what makes two records the same measurement, see `Record.key`."""
        found: str = self.__dict__["_key"]
        return found

    @property
    def place(self) -> str:
        """The key without the code, see `Record.place`."""
        found: str = self.__dict__["_place"]
        return found

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return the record with other values of some fields; the rest stays in the file."""
        found = type(self).__new__(type(self))
        state = {name: value for name, value in self.__dict__.items() if name != "_facts"}
        object.__setattr__(found, "__dict__", {**state, **(update or {})})
        return found

    def facts(self, number: int) -> tuple[Any, ...]:
        """Return the facts of the record, among them the one with a number; see `fact`."""
        state = self.__dict__
        known: tuple[Any, ...] = state.get("_facts", ())
        if number >= len(known):
            share = state["_file"].shared
            known = state["_facts"] = tuple(share(read(self)) for read in _FACTS)
        return known

    def to_dict(self) -> dict[str, Any]:
        """Return the record with plain values and all samples, from its file."""
        return self.loaded().to_dict()

    def loaded(self) -> Record:
        """Return the record with all samples in memory, which needs its file no more."""
        state = self.__dict__
        whole = from_dict(state["_file"].line(state["_offset"]), f"results file {state['_file'].name}")
        own = {name: value for name, value in state.items() if name in Record.model_fields}
        return whole.model_copy(update=own)


class RecordFile:
    """A results file from which records are read as they are needed. It stays open, so that it can be moved meanwhile.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name, self.number = path, str(path), next(_NUMBERS)
        try:
            self._held: BinaryIO | None = path.open("rb")
        except OSError:  # there is none, or there are too many
            self._held = None
        self._whole: OrderedDict[int, Record] = OrderedDict()
        self._alike: dict[Any, Any] = {}
        self._sample = b""

    def records(self, skipped: list[str]) -> Iterator[tuple[StoredRecord, int]]:
        """Yield the records one after another with their offsets.

        Args:
            skipped: Gets a sentence for each line that is no record.
        """
        for raw in json_lines.scan(self.path):
            source = f"results file {self.path}, line {raw.number},"
            try:
                data = parse(raw.text, source)
                found = from_dict(data, source)
            except StoreError as error:
                skipped.append(f"{error}; the line is skipped, and stays in the file")
                continue
            yield self._stored(found, data, raw.offset), raw.offset

    def line(self, offset: int) -> dict[str, Any]:
        """Return the line that begins at a byte, as it was written, samples included."""
        text = json_lines.read_at(self.path, offset, self._held)
        found: dict[str, Any] = parse(text, f"results file {self.path}, at byte {offset},")
        return found

    def whole(self, offset: int, packed: bytes) -> Record:
        """Return a record with all of its fields; its samples are `StoredSamples`.

        Args:
            offset: Byte at which its line begins.
            packed: What is kept of the line.
        """
        found = self._whole.get(offset)
        if found is None:
            data = json.loads(zlib.decompressobj(zdict=self._sample).decompress(packed))
            count = data.pop("sample_count")
            found = from_dict(data, f"results file {self.path}")
            if found.latency is not None:
                latency = found.latency.model_copy(update={"samples_s": StoredSamples(self, offset, count)})
                found = found.model_copy(update={"latency": latency})
            self._whole[offset] = found
            if len(self._whole) > KEPT:
                self._whole.popitem(last=False)
        else:
            self._whole.move_to_end(offset)
        return found

    def _stored(self, record: Record, data: dict[str, Any], offset: int) -> StoredRecord:
        """Return a record as it stays in memory."""
        if latency := data.get("latency"):
            data = {**data, "latency": {**latency, "samples_s": []}, "sample_count": len(latency["samples_s"])}
        text = json.dumps(data | {"sample_count": data.get("sample_count", 0)}, separators=(",", ":")).encode()
        self._sample = self._sample or text  # what is as in the first record costs nothing in the others
        packer = zlib.compressobj(1, zdict=self._sample)
        key, place = record.key, record.place
        found = StoredRecord.__new__(StoredRecord)
        state = {name: self._shared_text(getattr(record, name)) for name in RESIDENT}
        where = self._alike.setdefault(json.dumps({**data["environment"], "load": None}), record.environment)
        own = {"_key": key, "_place": key if place == key else place, "_where": where, "_load": record.environment.load}
        state |= own | {"_file": self, "_offset": offset, "_packed": packer.compress(text) + packer.flush()}
        object.__setattr__(found, "__dict__", state)
        return found

    def shared(self, value: Any) -> Any:
        """Return an equal value, alike in all of its types, that is in memory already; or the value itself."""
        found = self._alike.setdefault(value, value)
        return found if type(value) is str or repr(found) == repr(value) else value  # 2 equals 2.0

    def _shared_text(self, value: Any) -> Any:
        return self.shared(value) if isinstance(value, str) else value


def read(path: Path) -> Contents:
    """Return the records of a results file that a table shows, without their samples; else all that `store.read` returns.

    Args:
        path: A results file, or a document that profile, compare or sweep print with --format json.

    Returns:
        The last record of every cell in the order of the cells, see `store.current`; lines that are torn or foreign are
        skipped and named.

    Raises:
        StoreError: If the file does not exist, cannot be read, or is of another kind, which the sentence names.
    """
    if not _begins_with_a_record(path):
        found = store.read(path)
        return replace(found, records=store.current(found.records))
    skipped: list[str] = []
    records = (record for record, _ in RecordFile(path).records(skipped))
    return Contents(store.current(records), skipped)


def pick(path: Path, wanted: Mapping[Identity, int]) -> dict[int, Record]:
    """Return the last record of each wanted cell, as `store.pick` does, without samples.

    Args:
        path: The results file.
        wanted: Identity of a cell -> its number.

    Returns:
        Number of a cell -> its record, in the order of the numbers; cells that the file lacks are left out.
    """
    found: dict[int, Record] = {}
    for record, _ in RecordFile(path).records([]):
        if (number := wanted.get(identity(record.key, record.axes))) is not None:
            found[number] = record
    return dict(sorted(found.items()))


def _begins_with_a_record(path: Path) -> bool:
    """Whether the first line of a file is a record: then it is a results file, and no document."""
    try:
        with path.open("rb") as file:
            first = file.readline()
            return bool(file.read(1)) and bool(from_json(first.decode(errors="replace"), ""))
    except (OSError, StoreError):
        return False
