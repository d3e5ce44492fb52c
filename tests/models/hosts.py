"""Small models that upsample the ways that real ones do, and the ways to make them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Neck(nn.Module):
    """A YOLO-style neck: nn.Upsample in an nn.Sequential, one shared by two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)
        self.reduce = nn.Sequential(nn.Conv2d(32, 16, 1), nn.Upsample(scale_factor=2, mode="nearest"))
        self.merge = nn.Conv2d(32, 32, 3, padding=1)

    def forward(self, p3: Tensor, p4: Tensor, p5: Tensor) -> Tensor:
        top = self.up(p5)
        middle = self.merge(torch.cat([self.reduce(top), p3], 1))
        return middle + F.pad(self.up(p4), (0, 0)).repeat(1, 2, 1, 1).mean() + self.up(p4).sum()


class Head(nn.Module):
    """A head like mmseg's: laterals, a top-down path to the size of each level, and logits at the size of the image."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.laterals = nn.ModuleList([nn.Conv2d(channels, 16, 1) for channels in (8, 24, 32)])
        self.classify = nn.Conv2d(16, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        levels = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for n in (2, 1):
            levels[n - 1] = levels[n - 1] + F.interpolate(
                levels[n], size=levels[n - 1].shape[2:], mode="bilinear", align_corners=False
            )
        return self.classify(levels[0])


class Segmenter(nn.Module):
    """Stem, three levels, `Head`, and class logits that are enlarged to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.down = nn.ModuleList([nn.Conv2d(8, 24, 3, 2, 1), nn.Conv2d(24, 32, 3, 2, 1)])
        self.head = Head()

    def forward(self, image: Tensor) -> Tensor:
        features = [self.stem(image)]
        for down in self.down:
            features.append(down(features[-1]))
        return F.interpolate(self.head(features), size=image.shape[2:], mode="bilinear", align_corners=False)


class Odd(nn.Module):
    """Everything that an upsampler of features has no business with, and one call that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 8, 4, 4))
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.deconv = nn.ConvTranspose2d(8, 8, 2, 2)
        self.head = nn.Conv2d(8, 1, 1)
        self.last = nn.Conv2d(1, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        image = F.interpolate(image, scale_factor=2.0)  # image
        x = self.stem(image)
        x = x + F.interpolate(self.position, size=x.shape[2:], mode="bicubic", align_corners=False)  # parameters
        x = x + F.interpolate(x, scale_factor=1.0)  # identity
        x = x + F.interpolate(F.interpolate(x, scale_factor=0.5), size=x.shape[2:])  # downsampling, feature map
        x = x + F.interpolate(F.adaptive_avg_pool2d(x, 2), size=x.shape[2:])  # pooled map
        x = self.deconv(x)  # learned
        one = self.last(F.interpolate(self.head(x), scale_factor=2))  # one channel
        return F.interpolate(one, scale_factor=2, mode="nearest")  # prediction


def resize(x: Tensor, size: torch.Size) -> Tensor:
    """Return the map in another size, as mmseg's function of this name does."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class HelperHead(Head):
    """A head whose calls stand in a function outside of its class."""

    def forward(self, features: list[Tensor]) -> Tensor:
        levels = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for n in (2, 1):
            levels[n - 1] = levels[n - 1] + resize(levels[n], levels[n - 1].shape[2:])
        return self.classify(levels[0])


def with_helper() -> Segmenter:
    """Return the segmenter whose head calls a helper, with the weights of `segmenter`."""
    model = segmenter()
    head = HelperHead().eval()
    head.load_state_dict(model.head.state_dict())
    model.head = head
    return model


class Pooled(nn.Module):
    """A level of half the rows and columns, rounded down: an odd size is one that twice its size does not reach.

    Args:
        bakes: Whether the height is made a constant of when the model is exported.
        width: Channels of the maps.
    """

    def __init__(self, bakes: bool = False, width: int = 8) -> None:
        super().__init__()
        self.bakes = bakes
        self.stem, self.coarse, self.classify = (
            nn.Conv2d(3, width, 1),
            nn.Conv2d(width, width, 1),
            nn.Conv2d(width, 4, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        up = F.interpolate(self.coarse(F.max_pool2d(x, 2)), size=x.shape[2:])
        rows = torch.linspace(0, 1, int(x.shape[2])).view(-1, 1) if self.bakes else 0
        return self.classify(x + up) + rows


def pooled(bakes: bool = False, width: int = 8) -> Pooled:
    """Return the model of one level with fixed weights, in evaluation mode."""
    torch.manual_seed(0)
    return Pooled(bakes, width).eval()


def segmenter() -> Segmenter:
    """Return the segmenter with fixed weights, in evaluation mode."""
    torch.manual_seed(0)
    return Segmenter().eval()


def image(height: int = 64, width: int = 48) -> Tensor:
    """Return one image."""
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(1))


class Listed(Segmenter):
    """A segmenter that is called with a list of images, as detectors are."""

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        return [super(Listed, self).forward(image) for image in images]


class Dilated(nn.Module):
    """As DeepLab does: the one map of features is a pooled one, and the prediction is enlarged to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.aspp, self.classify = nn.Conv2d(3, 16, 3, 8, 1), Pooling(), nn.Conv2d(16, 21, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        return F.interpolate(self.classify(x + self.aspp(x)), size=image.shape[2:], mode="bilinear")


class Pooling(nn.Module):
    """The branch of an atrous pyramid that spreads one pixel over the map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(F.adaptive_avg_pool2d(x, 1)), size=x.shape[2:], mode="bilinear")
