"""Choose an upsampler for a model of your own: find its sites, measure candidates in it, put one in, keep it.

Run it as a script, or cell by cell (`# %%`). The model here is small, so that all of it takes seconds.
"""

# %% The model: any nn.Module. This one upsamples by functions, as most do.
import copy
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import upbench


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=4, padding=1)
        self.down = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.lateral, self.top = nn.Conv2d(16, 16, 1), nn.Conv2d(32, 16, 1)
        self.classify = nn.Conv2d(16, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fine = self.stem(image)
        coarse = self.top(self.down(fine))
        merged = self.lateral(fine) + F.interpolate(coarse, size=fine.shape[2:], mode="bilinear")
        return F.interpolate(self.classify(merged), size=image.shape[2:], mode="bilinear")


torch.manual_seed(0)
model, image = Segmenter().eval(), torch.rand(1, 3, 64, 64)

# %% Where does it upsample? The second call only enlarges the logits, and is left alone.
sites = upbench.sites(model, image)
print(sites.to_markdown())

# %% Candidates at the shape of that site: parameters, multiply-accumulates, latency, memory.
(site,) = (one for one in sites if one.learnable)
shape = "x".join(str(n) for n in site.input[1:])
candidates = upbench.compare(
    "bilinear", "dysample", "carafe", shape=shape, scale=site.scale, threads=1, budget=0.02, device="cpu"
)
print(candidates.to_markdown())

# %% In the model: trained weights stay, `start="original"` begins as the bilinear call that it replaces.
before = model(image)
upbench.replace(model, "dysample", inputs=image, start="original")
print("first output differs by", float((model(image) - before).abs().max()))

# %% Train it as any model; the new parameters are in model.upsamplers.
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = F.cross_entropy(model(image), torch.zeros(1, 64, 64, dtype=torch.long))
loss.backward()
optimizer.step()
print("trained", sum(p.numel() for p in model.upsamplers.parameters()), "new parameters")

# %% Keep it: a state dict as ever, and copies for an average of weights.
file = Path(tempfile.mkdtemp()) / "model.pt"
torch.save(model.state_dict(), file)
again = upbench.replace(Segmenter().eval(), "dysample", inputs=image)
again.load_state_dict(torch.load(file))
average = copy.deepcopy(model)
assert torch.equal(again(image), model(image))
assert torch.equal(average(image), model(image))
