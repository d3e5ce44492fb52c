"""Scenes, folders, scores, and stacks of networks: the parts of a study of quality."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from upbench.errors import UpbenchError
from upbench.quality import building, kinds, of_papers, stack, training
from upbench.quality.candidates import candidate
from upbench.quality.data import folder, scenes
from upbench.quality.pictures import Pictures
from upbench.quality.protocol import Protocol, Run
from upbench.quality.tasks import seg

SMALL = Protocol(steps=2, size=32, batch=2, pictures=(12, 4), device="cpu")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return scenes.load(SMALL.size, None, SMALL.pictures)


def runs(name: str, number: int = 3, **params: object) -> list[Run]:
    one = candidate({"upsampler": name, "params": params}, SMALL, "test")
    return [Run(one, seed) for seed in range(number)]


def test_a_seed_of_scenes_always_gives_the_same_bytes(pictures: Pictures) -> None:
    again = scenes.load(SMALL.size, None, SMALL.pictures)
    assert again.digest == pictures.digest
    assert (again.train(3)[0] == pictures.train(3)[0]).all()
    assert (again.train(3)[0] != pictures.train(4)[0]).any()
    images, masks = pictures.train(0)
    assert (images.shape, masks.shape, images.dtype) == ((12, 3, 32, 32), (12, 32, 32), np.uint8)
    assert set(np.unique(masks)) == {0, 1}


def test_no_colour_tells_objects_from_plain_figures() -> None:
    """The mean colour of objects is that of the background, over many scenes: what tells them apart is texture."""
    drawn = [scenes.scene(np.random.default_rng((9, n)), 32) for n in range(120)]
    inside = np.concatenate([image[:, mask == 1] for image, mask in drawn], axis=1)
    outside = np.concatenate([image[:, mask == 0] for image, mask in drawn], axis=1)
    assert inside.shape[1] > 5000
    assert np.abs(inside.mean(1) - outside.mean(1)).max() < 25


def pairs(path: Path, values: list[int], number: int = 60) -> Path:
    """A folder of pictures 20x16 with masks of some values, left half the first of them."""
    image_module = pytest.importorskip("PIL.Image", reason="reading pictures needs Pillow")
    for part in ("images", "masks"):
        (path / part).mkdir(parents=True)
    for n in range(number):
        image = np.full((16, 20, 3), n, np.uint8)
        mask = np.full((16, 20), values[0], np.uint8)
        mask[:, 10:] = values[1 + n % (len(values) - 1)]
        image_module.fromarray(image).save(path / "images" / f"thing{n // 2}__{n}.png")
        image_module.fromarray(mask).save(path / "masks" / f"thing{n // 2}__{n}.png")
    return path


def test_a_folder_is_split_by_object_and_its_mask_values_are_classes(tmp_path: Path) -> None:
    found = folder.load(16, str(pairs(tmp_path / "d", [0, 7, 200])))
    (train, masks), (test, _) = found.train(0), found.test
    assert found.classes == 3
    assert len(train) + len(test) == 60
    assert set(np.unique(masks)) == {0, 1, 2}
    assert (masks[:, :, :8] == 0).all()
    assert (masks[:, :, 8:] > 0).all()
    objects = [{int(image.flat[0]) // 2 for image in side} for side in (train, test)]
    assert not objects[0] & objects[1]
    assert train[0, 0, 0, 0] * 2 < 120  # as written, not as normalised


def test_masks_of_many_values_are_cut_in_two(tmp_path: Path) -> None:
    found = folder.load(16, str(pairs(tmp_path / "d", [0, *range(100, 160, 2)])))
    assert found.classes == 2
    assert set(np.unique(found.test[1])) <= {0, 1}


def test_what_is_wrong_with_a_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UpbenchError, match="there is no folder"):
        folder.load(16, str(tmp_path / "nowhere"))
    with pytest.raises(UpbenchError, match="has no folder images"):
        folder.load(16, str(tmp_path))
    few = pairs(tmp_path / "few", [0, 1], number=4)
    with pytest.raises(UpbenchError, match="3 to train on and 9 to test with; a folder needs at least 8 of each"):
        folder.load(16, str(few), (3, 9))
    with pytest.raises(UpbenchError, match="needs 8 of each"):
        folder.load(16, str(few))
    (few / "masks" / "thing0__0.png").unlink()
    with pytest.raises(UpbenchError, match=r"thing0__0\.png has no mask; add masks/thing0__0\.png"):
        folder.load(16, str(few))
    one = pairs(tmp_path / "one", [5, 5])
    with pytest.raises(UpbenchError, match="the value 5 alone"):
        folder.load(16, str(one))
    (one / "images" / "thing0__0.png").write_bytes(b"no picture")
    with pytest.raises(UpbenchError, match="cannot be read as a picture"):
        folder.load(16, str(one))


def test_numbers_of_masks_are_read_as_they_are(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="reading pictures needs Pillow")
    deep, grey, palette = (pairs(tmp_path / name, [0, 5, 200]) for name in ("deep", "grey", "palette"))
    for path in deep.glob("masks/*.png"):
        image_module.fromarray(np.asarray(image_module.open(path)).astype(np.uint16) * 300).save(path)
    for path in grey.glob("masks/*.png"):
        image_module.open(path).convert("RGB").save(path)
    for path in palette.glob("masks/*.png"):
        found = image_module.open(path).convert("L")
        found.putpalette([9] * 768)
        found.save(path)
    assert {folder.load(16, str(path)).digest for path in (deep, grey, palette)} == {
        folder.load(16, str(pairs(tmp_path / "plain", [0, 5, 200]))).digest
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("lonely", r"lonely\.png has no picture; add images/lonely\.png or \.jpg, or take it away"),
        ("small", r"has 1x1 pixels and would have to be enlarged to 16"),
        ("other size", r"has 20x16 pixels and its mask 10x16"),
        ("coloured", r"thing0__0\.png is coloured; a mask has one number a pixel"),
    ],
)
def test_masks_that_do_not_fit_their_pictures_are_refused(tmp_path: Path, change: str, sentence: str) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="reading pictures needs Pillow")
    path = pairs(tmp_path / "d", [0, 7])
    image, mask = path / "images" / "thing0__0.png", path / "masks" / "thing0__0.png"
    if change == "lonely":
        (path / "masks" / "lonely.png").write_bytes(mask.read_bytes())
    elif change == "coloured":
        image_module.fromarray(np.arange(960, dtype=np.uint8).reshape(16, 20, 3)).save(mask)
    else:
        sizes = {image: (1, 1), mask: (1, 1)} if change == "small" else {mask: (10, 16)}
        for file, size in sizes.items():
            image_module.open(file).resize(size).save(file)
    with pytest.raises(UpbenchError, match=sentence):
        folder.load(16, str(path))


def test_scores_of_a_mask_counted_by_hand() -> None:
    """A square of 6x6 in 12x12, found one column further left: 30 pixels of 42 agree."""
    masks = torch.zeros(1, 12, 12, dtype=torch.int64)
    masks[0, 3:9, 4:10] = 1
    guess = torch.zeros(2, 2, 12, 12)
    guess[:, 0] = 0.5
    guess[0, 1, 3:9, 4:10] = 1  # the first run is right
    guess[1, 1, 3:9, 3:9] = 1
    scores = seg.Scores(2, 2)
    scores.add(guess, masks)
    right, moved = scores.results()
    assert right == {"miou": 100.0, "biou": 100.0}
    background = (144 - 42) / (144 - 30)
    assert moved["miou"] == pytest.approx(100 * (30 / 42 + background) / 2)
    # Within two pixels of the boundary a square of 6 is all but its middle of 2x2; the two rims share 26 pixels of 38.
    inner = {(y, x) for y in range(6) for x in range(6)} - {(y, x) for y in (2, 3) for x in (2, 3)}
    other = {(y, x - 1) for y, x in inner}
    assert moved["biou"] == pytest.approx(100 * len(inner & other) / len(inner | other))


def test_the_edge_of_a_picture_is_no_boundary() -> None:
    region = torch.zeros(1, 10, 10, dtype=torch.bool)
    region[0, :, :5] = True
    assert seg.rim(region)[0].sum(0).tolist() == [0, 0, 0, 10, 10, 0, 0, 0, 0, 0]
    assert not seg.rim(torch.ones(1, 10, 10, dtype=torch.bool)).any()


BATCHED = ["bilinear", "carafe", "dysample", "dysample-s+", "sapa-b", "fade", "sapa-d"]


@pytest.mark.parametrize("name", BATCHED)
def test_one_step_of_many_seeds_is_that_of_each_alone(name: str, pictures: Pictures) -> None:
    some = runs(name)
    with training.one_thread():
        networks = [building.network(run, SMALL, 2) for run in some]
        whole = stack.stacked(networks)
        assert whole is not None
        images, masks = training.Feed(some, pictures, 2, CPU).step()
        losses = seg.loss(whole(images), masks, 3)
        losses.sum().backward()
        for n, network in enumerate(networks):
            alone = seg.loss(network(images[n::3].contiguous()), masks[n::3], 1)
            alone.sum().backward()
            assert losses[n].item() == pytest.approx(alone.item(), rel=1e-6)
            size = max(float(p.grad.abs().max()) for p in network.parameters() if p.grad is not None)
            for key, parameter in network.named_parameters():
                theirs = dict(whole.named_parameters())[key].grad
                if parameter.grad is not None:
                    assert theirs is not None
                    assert (theirs.view(3, *parameter.shape)[n] - parameter.grad).abs().max() <= 2e-5 * size, key


def test_what_cannot_be_batched_is_seen(pictures: Pictures) -> None:
    """Weights that no known layer owns, batch norms, and layers whose weights are taken past them."""
    with training.one_thread():
        assert not training.batchable(runs("ldaaqu"), SMALL, pictures, CPU)
        assert not training.batchable(runs("tests.modules.carafe:CARAFE"), SMALL, pictures, CPU)
        assert training.batchable(runs("dysample"), SMALL, pictures, CPU)

        class Wrong(nn.Module):
            """Uses the weights of a convolution for something else."""

            def __init__(self) -> None:
                super().__init__()
                self.host = nn.Conv2d(3, 2, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.host(x) * self.host.weight.mean()

        some, networks = runs("bilinear"), [Wrong() for _ in range(3)]
        whole = stack.stacked(networks)
        assert whole is not None
        assert not training.agrees(whole, networks, some, SMALL, pictures, CPU)


def test_a_batched_gradient_is_clipped_run_by_run() -> None:
    parameter = nn.Parameter(torch.zeros(4, 3))
    parameter.grad = torch.tensor([[3.0, 0, 0], [0, 4, 0], [0.1, 0, 0], [0, 0, 0.2]])
    training.clip([parameter], 2, 1.0)
    assert torch.linalg.vector_norm(parameter.grad[:2]).item() == pytest.approx(1.0, rel=1e-5)
    assert parameter.grad[2:].sum().item() == pytest.approx(0.3)


def test_a_seed_gives_every_upsampler_the_same_host_and_order() -> None:
    first, second = (building.network(runs(name)[0], SMALL, 2) for name in ("carafe", "bilinear"))
    ours = dict(first.named_parameters())
    assert all((ours[name] == p).all() for name, p in second.named_parameters())
    moved = building.network(Run(runs("bilinear")[0].candidate, 0, repeat=1), SMALL, 2)
    gaps = [float((a - b).detach().abs().max()) for a, b in zip(moved.parameters(), second.parameters(), strict=True)]
    assert 0 < max(gaps) < 1e-4
    again = dict(building.network(Run(runs("carafe")[0].candidate, 0, repeat=1), SMALL, 2).named_parameters())
    changed = [name for name, p in again.items() if (p != ours[name]).any()]
    assert changed
    assert all(".upsamplers." in name for name in changed)
    one, other = (training.Order(5, 10, 4) for _ in range(2))
    assert all((a == b).all() for _ in range(6) for a, b in zip(one.step(), other.step(), strict=True))


def test_the_rate_rises_and_falls_to_nothing() -> None:
    plan = Protocol(steps=100)
    rates = [plan.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(plan.rate / 21)
    assert max(rates) < plan.rate
    assert rates.index(max(rates)) in range(15, 21)
    assert rates[-1] < plan.rate / 1000


def test_every_kind_of_part_is_a_module_of_its_folder() -> None:
    assert kinds.names("data") == ["folder", "scenes"]
    assert kinds.names("host") == ["fpn"]
    with pytest.raises(UpbenchError, match=r"seg"):
        kinds.load("task", "segm")


def test_sapas_own_tables_agree_as_far_as_they_do() -> None:
    found = of_papers.agreement()
    assert len(found) == 15
    printed = {pair: round(tau or 0, 2) for pair, tau in found.items()}
    assert min(printed.values()) == printed["UPerNet mIoU", "matting SAD"] == 0.16
    assert max(printed.values()) == printed["detection AP", "instance AP"] == 0.94
    assert printed["SegFormer mIoU", "SegFormer bIoU"] == 0.85


def test_the_recipe_for_cut_outs_makes_a_folder_that_can_be_read(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="reading pictures needs Pillow")
    stamps, photographs, out = (tmp_path / name for name in ("stamps", "photographs", "out"))
    (stamps / "symbols").mkdir(parents=True)
    photographs.mkdir()
    random = np.random.default_rng(0)
    y, x = np.mgrid[:80, :80]
    for n in range(30):
        disc = np.hypot(x - 40, y - 40) < 25 + n % 10
        picture = np.dstack([random.integers(0, 255, (80, 80, 3)), disc * 255]).astype(np.uint8)
        image.fromarray(picture).save(stamps / f"disc{n}.png")
    image.fromarray(picture).save(stamps / "symbols" / "letter.png")
    image.fromarray(picture[..., :3]).save(stamps / "opaque.png")
    image.fromarray(random.integers(0, 255, (220, 240, 3)).astype(np.uint8)).save(photographs / "noise.jpg")
    image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(photographs / "small.png")
    script = Path(__file__).parents[2] / "examples" / "cutouts.py"
    command = [sys.executable, str(script), *map(str, (stamps, photographs, out)), "--number", "60"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("60 pairs of 30 cut-outs on 1 photographs")
    found = folder.load(32, str(out))
    assert (found.classes, found.trained + len(found.test[0])) == (2, 60)
    assert 0.1 < found.train(0)[1].mean() < 0.7
    first = (out / "images" / "disc0__0000.png").read_bytes()
    subprocess.run(command, capture_output=True, check=True)
    assert (out / "images" / "disc0__0000.png").read_bytes() == first
