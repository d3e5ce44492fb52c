"""Which engine runs a sweep, as its file and the command line say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from upbench.errors import known_names, unknown
from upbench.specs import strict
from upbench.specs.strict import Strict
from upbench.specs.yaml_file import COMMAND_LINE

ENGINES = {"local": "local", "ray": "on_ray"}
"""Name of an engine -> its module in this folder, imported only when the engine is asked for."""


def _known(value: object) -> object:
    if isinstance(value, str) and value not in ENGINES:
        raise ValueError(f"unknown engine {value!r}; {known_names(value, ENGINES)}")
    return value


class Choice(Strict):
    """Which engine runs a sweep.

    Args:
        name: One of ENGINES.
        address: Of the Ray cluster: auto, HOST:PORT, or local for one of this machine alone; None for auto.
        on: Text that the kind of machine must contain, as "H100"; None for any kind.
    """

    name: Annotated[str, BeforeValidator(_known)] = Field("local", description="one of local, ray")
    address: str | None = Field(None, description="auto, HOST:PORT or local")
    on: str | None = Field(None, min_length=1, description="a part of the name of a kind of machine, as H100")

    @model_validator(mode="before")
    @classmethod
    def _on(cls, data: Any) -> Any:
        """YAML reads a bare on as true."""
        return {"on" if key is True else key: v for key, v in data.items()} if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _of_a_cluster(self) -> Self:
        if self.name == "local" and (self.address is not None or self.on is not None):
            raise ValueError("address and on belong to a cluster; give the engine ray too, or leave them out")
        return self


def merged(written: Choice, name: str | None, address: str | None, on: str | None) -> Choice:
    """Return the choice of a sweep's file with what the command line gives in its place.

    Args:
        written: What the file says.
        name, address, on: What the command line says; None for nothing.

    Raises:
        SpecError: If a value is wrong, or none of the engine's.
        UnknownName: If there is no such engine.
    """
    if name is not None and name not in ENGINES:
        raise unknown("--engine", name, ENGINES)
    given = {key: value for key, value in (("name", name), ("address", address), ("on", on)) if value is not None}
    if name == "local":  # nothing of the file's cluster is meant any more
        return strict.load(Choice, given, COMMAND_LINE)
    return strict.load(Choice, {**written.model_dump(), **given}, COMMAND_LINE) if given else written
