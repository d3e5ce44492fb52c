"""What stands in the folder in which the commands of a page run: the modules, data and results that they name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.docs import pages
from tests.docs.pages import ROOT

UP = '''"""An upsampler of one's own."""
from torch import nn


class Up(nn.Module):
    def __init__(self, channels, scale=2, kernel=1, groups=1):
        super().__init__()
        self.expand = nn.Conv2d(channels, channels * scale**2, kernel, groups=groups, padding=kernel // 2)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x):
        return self.shuffle(self.expand(x))
'''
LIKE_CARAFE = '''"""An upsampler of one's own that computes what carafe does."""
from upbench.upsamplers.carafe import CARAFE


class Up(CARAFE):
    pass
'''
MODELS = '''"""A model of one's own."""
from torch import nn


def build(width=32):
    layers = nn.Conv2d(3, width, 3, stride=4, padding=1), nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(width, 2, 1))
'''
FILES = {
    "mine/__init__.py": "from mine.up import Up\n",
    "mine/up.py": UP,
    "my_project/__init__.py": "",
    "my_project/models.py": MODELS,
    "inputs.py": "import torch\n\n\ndef make():\n    return torch.rand(1, 3, 64, 64)\n",
    "ap.csv": "name,AP\nmine:Up,39.0\ncarafe,38.1\n",
    "ablation.yaml": 'name: ablation\nbase: {upsampler: "mine:Up"}\ngrid: {kernel: [1, 3], groups: [1, 2]}\nmeasure: {threads: 1}\n',
    "ablation.csv": "kernel,groups,AP\n1,1,37.9\n3,1,38.9\n1,2,38.0\n3,2,39.3\n",
    "a.yaml": "upsampler: carafe\ninput: {shape: 32x8x8}\n",
    "b.yaml": "upsampler: carafe\ninput: {shape: 32x4x4}\n",
}
"""Files by their names; a page's own, behind the comment `file`, go before them."""
OWN = {"own-upsampler.md": {"mine/up.py": LIKE_CARAFE}}
"""Files that one page needs otherwise."""


def build(page: Path, folder: Path) -> None:
    """Lay out the folder of a page.

    Args:
        page: The page whose commands are to run.
        folder: An empty folder.
    """
    files = {**FILES, **OWN.get(page.name, {})}
    files.update({block.name: block.text for block in pages.blocks(page.read_text()) if block.what == "file"})
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("results", "sweeps"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("quality", "*.png"))
    (folder / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "own_upsampler.py", folder / "examples")
    (folder / "docs").mkdir()
    for name in ("old.jsonl", "new.jsonl"):
        shutil.copy(ROOT / "results" / "theta.jsonl", folder / name)
    text = page.read_text()
    if "--against" in text:
        commit(folder)
    if "my/pictures" in text:
        pictures(folder)
    if "ldaaqu.safetensors" in text:
        weights(folder)


def commit(folder: Path) -> None:
    """Make the folder a repository whose last commit is origin/main."""
    git = ["git", "-c", "user.name=upbench", "-c", "user.email=upbench@localhost"]
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["commit", "-qm", "first"],
        ["update-ref", "refs/remotes/origin/main", "HEAD"],
    ):
        subprocess.run([*git, *words], cwd=folder, check=True, capture_output=True)


def pictures(folder: Path) -> None:
    """Write pictures and masks of sixty objects, of which about a fifth is to test with."""
    from PIL import Image

    for part in ("images", "masks"):
        (folder / "my" / "pictures" / part).mkdir(parents=True)
    for n in range(60):
        Image.effect_noise((64, 64), 80).convert("RGB").save(
            folder / "my" / "pictures" / "images" / f"object{n}__0.png"
        )
        mask = Image.new("L", (64, 64))
        mask.paste(255, (n % 20, n // 3, 40 + n % 20, 40 + n // 3))
        mask.save(folder / "my" / "pictures" / "masks" / f"object{n}__0.png")


def weights(folder: Path) -> None:
    """Write weights of LDA-AQU at the channels of small shapes."""
    from safetensors.torch import save_file

    import upbench

    save_file(upbench.build("ldaaqu", channels=32).state_dict(), folder / "ldaaqu.safetensors")
