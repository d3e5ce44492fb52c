"""Provides two versions of a module: a commit in a worktree of its own, or the packages of another Python."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from upbench.errors import UpbenchError
from upbench.user_code import modules


class VersionError(UpbenchError):
    """A version of a module cannot be provided."""


class GitError(Exception):
    """A git command failed; the message is that of git."""


_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
"""Environment variables with which git points a hook to its repository."""


@dataclass(frozen=True)
class Version:
    """A version of a module, and how a process runs it.

    Args:
        name: Name of the version in messages.
        python: Python that runs it.
        folder: Folder that it runs in.
        path: Entries of PYTHONPATH.
        inside: Folder that the module must be loaded from; None where any will do.
    """

    name: str
    python: str
    folder: Path
    path: tuple[str, ...]
    inside: Path | None = None

    def environment(self) -> dict[str, str]:
        """Return the environment variables of its process."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join(self.path)}


def current(module: str) -> Version:
    """Return the version of a module as it is imported here, uncommitted changes included.

    Args:
        module: Dotted name of the module.

    Raises:
        VersionError: If the module cannot be found.
    """
    return Version("the current files", sys.executable, Path.cwd(), (str(_root(module)), *_inherited()))


@contextmanager
def at_commit(ref: str, module: str) -> Iterator[Version]:
    """Check out a module as it was at a commit, in a git worktree that is removed afterwards.

    Args:
        ref: Branch, tag or hash.
        module: Dotted name of the module.

    Raises:
        VersionError: If the module is in no git repository, or the commit is not known.
    """
    root = _root(module)
    try:
        repository = Path(_git(root, "rev-parse", "--show-toplevel")).resolve()
    except GitError as error:
        raise VersionError(
            f"--against {ref}: {module} is imported from {root}, where git finds no repository ({error}); run from the "
            f"repository of the module, or compare two environments with --against-python"
        ) from None
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    except GitError:
        raise VersionError(
            f"--against {ref}: there is no such commit in {repository}; give a branch, a tag or a hash "
            f"(in a shallow clone fetch it first: actions/checkout with fetch-depth: 0)"
        ) from None
    inside = root.relative_to(repository)
    with tempfile.TemporaryDirectory(prefix="upbench-") as scratch:
        tree = Path(scratch).resolve() / "tree"
        quiet = ("-c", "core.hooksPath=/dev/null")  # nobody's hooks run for a comparison
        try:
            _git(repository, *quiet, "worktree", "add", "--detach", "--quiet", str(tree), commit)
        except GitError as error:
            raise VersionError(f"--against {ref}: git cannot check {commit[:12]} out ({error})") from None
        try:
            yield Version(
                f"{ref} ({commit[:8]})" if not commit.startswith(ref) else commit[:8],
                sys.executable,
                _same_place(repository, tree),
                (str(tree / inside), *_inherited()),
                inside=tree,
            )
        finally:
            with suppress(GitError):  # the folder goes anyway, and git forgets it by itself
                _git(repository, "worktree", "remove", "--force", str(tree))


@contextmanager
def of_python(python: str) -> Iterator[Version]:
    """Provide a module as it is installed for another Python; the current folder is not searched.

    Args:
        python: Path of that Python.

    Raises:
        VersionError: If it cannot be run, or has no upbench.
    """
    code = "import sys, upbench; print(upbench.__version__)"
    with tempfile.TemporaryDirectory(prefix="upbench-") as empty:
        try:
            done = subprocess.run(
                [python, "-P", "-c", code], capture_output=True, text=True, timeout=60, cwd=empty, env=_absolute()
            )
        except (OSError, subprocess.SubprocessError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it does not answer"
            raise VersionError(
                f"--against-python {python}: cannot be run ({reason}); give the path of a Python, as venv/bin/python"
            ) from None
        if done.returncode != 0 or not done.stdout.strip():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise VersionError(
                f"--against-python {python}: upbench cannot be imported there ({last}); install upbench in that environment"
            )
        yield Version(python, python, Path(empty), _inherited())


def _root(module: str) -> Path:
    """Return the folder on the path from which the first package of `module` is imported. Nothing is run."""
    top = module.partition(".")[0]
    modules.search_here()
    spec = importlib.util.find_spec(top)
    places = list(spec.submodule_search_locations or []) if spec else []
    if spec and spec.origin and spec.origin not in ("built-in", "frozen"):
        origin = Path(spec.origin).resolve()
        return origin.parent.parent if places else origin.parent
    if places:
        return Path(places[0]).resolve().parent
    raise VersionError(f"module {top!r} cannot be found from {Path.cwd()}")


def _same_place(repository: Path, tree: Path) -> Path:
    """Return the current folder in the checked out tree, or its top where it has no such folder."""
    here = Path.cwd().resolve()
    place = tree / here.relative_to(repository) if here.is_relative_to(repository) else tree
    return place if place.is_dir() else tree


def _inherited() -> tuple[str, ...]:
    """Return the entries of PYTHONPATH, absolute, since the workers run in other folders."""
    return tuple(str(Path(p).resolve()) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p)


def _absolute() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(_inherited())}


def _git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command; raise GitError with the message of git when it fails.

    Within a hook git names its index in the environment, which a checkout beside the repository must never write to.
    """
    outside = {k: v for k, v in os.environ.items() if k not in _OF_HOOKS}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=120, env=outside
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise GitError("git is not installed" if isinstance(error, FileNotFoundError) else str(error)) from None
    if done.returncode != 0:
        raise GitError(" ".join(done.stderr.split()) or f"git {arguments[0]} failed")
    return done.stdout.strip()
