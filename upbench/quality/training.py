"""Trains the networks of runs and scores them: several seeds in one batched call, or one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from upbench.quality import building, kinds, stack
from upbench.quality.pictures import Pictures
from upbench.quality.protocol import Protocol, Run

LAST = 30
"""The final loss is the mean of so many steps."""
TESTED = 50
"""Pictures of a batch in the test."""
AGREES = 1e-3
"""How far the gradients of a batched step may be from those of single steps, as a part of their norm. Rounding alone gives
about 1e-6; a layer that was not understood gives more than 0.1."""
Say = Callable[[str, float], None]


@dataclass(frozen=True)
class Trained:
    """What became of a run.

    Args:
        status: ok, or diverged: a loss that is no number, or at last above what it was at first.
        scores: Name of a score -> its value; None where a score is no number.
        first_loss: Loss of the first step.
        last_loss: Mean loss of the last steps.
        cpu_s: Processor seconds of training and test, an equal share of those of a batched call.
        batched: How many runs were trained together.
    """

    status: str
    scores: dict[str, float]
    first_loss: float | None
    last_loss: float | None
    cpu_s: float
    batched: int


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread and without denormal numbers, which slow a processor down up to 14-fold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    flushed = torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if flushed:
            torch.set_flush_denormal(False)


class Order:
    """Which pictures a run sees at each step, and which of them are flipped; the same for every upsampler.

    Args:
        seed: The run's seed.
        pictures: How many there are.
        batch: Pictures of a step.
    """

    def __init__(self, seed: int, pictures: int, batch: int) -> None:
        self.random = np.random.default_rng((seed, 1))
        self.pictures, self.batch = pictures, batch
        self.left = np.empty(0, dtype=np.int64)

    def step(self) -> tuple[Tensor, Tensor]:
        """Return the numbers of the next pictures, and which of them are flipped."""
        while len(self.left) < self.batch:
            self.left = np.concatenate([self.left, self.random.permutation(self.pictures)])
        taken, self.left = self.left[: self.batch], self.left[self.batch :]
        return torch.from_numpy(taken), torch.from_numpy(self.random.random(self.batch) < 0.5)


class Feed:
    """The batches of runs that are trained together, the pictures of one place in the batch one after another.

    Args:
        runs: The runs.
        pictures: The data.
        batch: Pictures of a step.
        device: Where they go.
    """

    def __init__(self, runs: Sequence[Run], pictures: Pictures, batch: int, device: torch.device) -> None:
        self.device = device
        pairs = [pictures.train(run.seed) for run in runs]
        self.pairs = [(torch.from_numpy(images), torch.from_numpy(masks)) for images, masks in pairs]
        self.orders = [Order(run.seed, len(images), batch) for run, (images, _) in zip(runs, pairs, strict=True)]

    def step(self) -> tuple[Tensor, Tensor]:
        """Return the images and masks of the next step."""
        drawn = []
        for (images, masks), order in zip(self.pairs, self.orders, strict=True):
            numbers, flipped = order.step()
            x, m = images[numbers], masks[numbers]
            x = torch.where(flipped.view(-1, 1, 1, 1), x.flip(3), x)
            m = torch.where(flipped.view(-1, 1, 1), m.flip(2), m)
            drawn.append((x, m))
        x = torch.stack([x for x, _ in drawn], dim=1).flatten(0, 1)
        m = torch.stack([m for _, m in drawn], dim=1).flatten(0, 1)
        return as_input(x.to(self.device)), m.to(self.device).long()


def as_input(images: Tensor) -> Tensor:
    """Return bytes as values of about zero mean and unit variance."""
    return (images.float() - 127.5) / 64


def batchable(runs: Sequence[Run], protocol: Protocol, pictures: Pictures, device: torch.device) -> bool:
    """Return whether runs can be trained in one batched call, so that their first step is what it is alone.

    Args:
        runs: Runs of one candidate.
        protocol: The protocol.
        pictures: The data.
        device: Where they run.
    """
    networks = [building.network(run, protocol, pictures.classes).to(device) for run in runs]
    whole = stack.stacked(networks)
    return whole is not None and agrees(whole, networks, runs, protocol, pictures, device)


def agrees(
    whole: nn.Module,
    networks: Sequence[nn.Module],
    runs: Sequence[Run],
    protocol: Protocol,
    pictures: Pictures,
    device: torch.device,
) -> bool:
    """Return whether one step of stacked networks gives every one of them the loss and gradients that it has alone.

    Args:
        whole: The stack.
        networks: The networks.
        runs: Their runs.
        protocol: The protocol.
        pictures: The data.
        device: Where they run.
    """
    task, n = kinds.load("task", protocol.task), len(runs)
    images, masks = Feed(runs, pictures, protocol.batch, device).step()
    try:
        losses = task.loss(whole(images), masks, n)
        losses.sum().backward()
    except (Exception, SystemExit):  # noqa: BLE001 - a user's module may raise anything; it is trained by itself then
        return False
    of_stack = dict(whole.named_parameters())
    for number, network in enumerate(networks):
        loss = task.loss(network(images[number::n].contiguous()), masks[number::n], 1)
        loss.sum().backward()
        if not torch.allclose(losses[number], loss[0], rtol=AGREES, atol=1e-6):
            return False
        off = total = 0.0
        for name, parameter in network.named_parameters():
            mine = _gradient(parameter)
            theirs = _gradient(of_stack[name]).view(n, *mine.shape)[number]
            off, total = off + float((mine - theirs).square().sum()), total + float(mine.square().sum())
        if not math.sqrt(off) <= AGREES * math.sqrt(total):
            return False
    return True


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def train(runs: Sequence[Run], protocol: Protocol, pictures: Pictures, device: torch.device, say: Say) -> list[Trained]:
    """Train runs of one candidate together and score them; more than one only where `batchable` says so.

    Args:
        runs: The runs.
        protocol: The protocol.
        pictures: The data.
        device: Where they run.
        say: Called with what is being done, and the part of it that is done.
    """
    started = time.process_time()
    networks = [building.network(run, protocol, pictures.classes) for run in runs]
    found = networks[0] if len(runs) == 1 else stack.stacked(networks)
    if found is None:
        raise ValueError(f"{runs[0].candidate.label} cannot be trained in one batched call")
    whole = found.to(device).train()
    feed = Feed(runs, pictures, protocol.batch, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(building.seed_of(runs[0].seed, runs[0].repeat))
        losses = _fit(whole, feed, len(runs), protocol, say)
    scores = _scores(whole.eval(), len(runs), protocol, pictures, device)
    share = (time.process_time() - started) / len(runs)
    return [_outcome(losses[:, n], scores[n], share, len(runs)) for n in range(len(runs))]


def _fit(whole: nn.Module, feed: Feed, runs: int, protocol: Protocol, say: Say) -> Tensor:
    """Train; return the loss of every step and run."""
    task = kinds.load("task", protocol.task)
    parameters = [parameter for parameter in whole.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=protocol.rate, weight_decay=protocol.decay, fused=True)
    losses = []
    for step in range(protocol.steps):
        for group in optimiser.param_groups:
            group["lr"] = protocol.rate_at(step)
        images, masks = feed.step()
        each = task.loss(whole(images), masks, runs)
        optimiser.zero_grad(set_to_none=True)
        each.sum().backward()
        clip(parameters, runs, protocol.clip)
        optimiser.step()
        losses.append(each.detach())
        say("training", (step + 1) / protocol.steps)
    return torch.stack(losses).cpu()


def clip(parameters: Sequence[nn.Parameter], runs: int, greatest: float) -> None:
    """Scale the gradient of every run down to a norm.

    Args:
        parameters: Those of a stack, whose first dimension holds the runs one after another.
        runs: How many there are.
        greatest: The greatest norm.
    """
    gradients = [p.grad.view(runs, -1) for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g, dim=1) for g in gradients])
    factor = (greatest / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0).unsqueeze(1)
    for gradient in gradients:
        gradient.mul_(factor)


@torch.no_grad()
def _scores(
    whole: nn.Module, runs: int, protocol: Protocol, pictures: Pictures, device: torch.device
) -> list[dict[str, float]]:
    scores = kinds.load("task", protocol.task).Scores(pictures.classes, runs)
    images, masks = (torch.from_numpy(part) for part in pictures.test)
    for start in range(0, len(images), TESTED):
        x = as_input(images[start : start + TESTED].to(device)).repeat_interleave(runs, dim=0)
        scores.add(whole(x), masks[start : start + TESTED].to(device).long())
    found: list[dict[str, float]] = scores.results()
    return found


def _outcome(losses: Tensor, scores: dict[str, float], cpu_s: float, batched: int) -> Trained:
    first, last = float(losses[0]), float(losses[-LAST:].mean())
    ended = math.isfinite(last) and last <= first
    kept = {name: value for name, value in scores.items() if math.isfinite(value)}
    return Trained("ok" if ended else "diverged", kept, _finite(first), _finite(last), cpu_s, batched)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
