"""What stands beside the manual for people who come to the project: forms for issues, how to cite it, its metadata."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

import upbench
from tests.docs.pages import ROOT
from upbench.cli.app import app

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
KINDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}
"""What GitHub shows in a form."""


def test_there_is_a_form_for_a_bug_an_upsampler_and_a_number() -> None:
    assert [form.stem for form in FORMS] == ["bug", "new-upsampler", "paper-number"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one_that_github_takes(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert set(form) == {"name", "description", "labels", "body"}
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in form["body"]} <= KINDS
    names = [field["id"] for field in fields]
    assert len(set(names)) == len(names)
    assert all(field["attributes"].get("label") for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_what_a_form_names_exists(path: Path) -> None:
    whole = get_command(app)
    for quoted in re.findall(r"`([^`]+)`", path.read_text()):
        program, *words = quoted.split()
        if program == "upbench":
            options = {name for option in whole.commands[words[0]].params for name in option.opts}
            assert {word for word in words if word.startswith("--")} <= options, quoted
        elif program.startswith("docs/"):
            assert (ROOT / program).exists(), quoted


def test_the_citation_is_of_this_version_and_names_what_the_package_names() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["version"] == upbench.__version__
    assert cited["authors"] == [{"name": author["name"]} for author in project["authors"]]
    assert {"cff-version", "message", "title", "type", "abstract", "keywords"} <= set(cited)
    assert set(cited["keywords"]) <= set(project["keywords"])


def test_no_address_is_given_that_does_not_exist() -> None:
    """No repository is public yet: neither file names one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "urls" not in project
    assert "http" not in (ROOT / "CITATION.cff").read_text()


def test_the_manual_installs_extras_in_one_way_and_the_torch_of_the_constraints() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    extras = [line for page in pages for line in re.findall(r"pip install [^`;]*\[[^`;]*", page.read_text())]
    assert len(extras) > 5
    assert not [line for line in extras if not re.match(r"pip install -c \S+ -e '\.\[[a-z,]+\]'", line)]
    pinned = dict(re.findall(r"^(torch|torchvision)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    tutorial = (ROOT / "docs" / "tutorials" / "choose-for-my-model.md").read_text()
    assert "pip install torch=={torch} torchvision=={torchvision} --index-url".format(**pinned) in tutorial
