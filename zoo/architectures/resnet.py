"""ResNet-18 and ResNet-50 of any base width, with the stem of small images and torchvision's names."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor, nn

from zoo.architectures.base import Architecture, ArchitectureOptions
from zoo.architectures.initialisation import NORMS
from zoo.architectures.shapes import need_images
from zoo.architectures.symmetries import Axis, Draft, Symmetry
from zoo.spec import DataShape

_FIRST_BIAS = 0.01

Images = Float[Tensor, "batch channels height width"]
Halved = Float[Tensor, "batch more low narrow"]
"""Images after a block, which may have more channels and half the height and width."""


class ResNetOptions(ArchitectureOptions):
    """Options of a ResNet.

    Attributes:
        layers: 18 (blocks of two 3 x 3 convolutions) or 50 (bottlenecks).
        width: Channels of the first stage, of which the others have two, four and eight times as many; a
            bottleneck gives four times these. The published networks have 64.
    """

    layers: Literal[18, 50] = 18
    width: int = Field(default=64, ge=1, le=4096)


class _Basic(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: Images) -> Halved:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        found: Tensor = self.relu(out + shortcut)
        return found


class _Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut; the middle one strides, as in torchvision."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(channels, width * self.expansion, stride)

    def forward(self, x: Images) -> Halved:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        found: Tensor = self.relu(out + shortcut)
        return found


def _shortcut(channels: int, wanted: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == wanted:
        return None
    return nn.Sequential(nn.Conv2d(channels, wanted, 1, stride, bias=False), nn.BatchNorm2d(wanted))


def _stage(
    block: type[_Basic | _Bottleneck], channels: int, width: int, *, blocks: int, stride: int
) -> nn.Sequential:
    first = block(channels, width, stride)
    others = [block(width * block.expansion, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)


_STAGES: dict[int, tuple[type[_Basic | _Bottleneck], tuple[int, int, int, int]]] = {
    18: (_Basic, (2, 2, 2, 2)),
    50: (_Bottleneck, (3, 4, 6, 3)),
}


class _ResNet(nn.Module):
    """Stem, four stages, global average, one linear layer."""

    def __init__(self, options: ResNetOptions, channels: int, classes: int) -> None:
        super().__init__()
        block, (one, two, three, four) = _STAGES[options.layers]
        w, out = options.width, options.width * block.expansion
        self.conv1 = nn.Conv2d(channels, w, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.relu = nn.ReLU()
        self.layer1 = _stage(block, w, w, blocks=one, stride=1)
        self.layer2 = _stage(block, out, 2 * w, blocks=two, stride=2)
        self.layer3 = _stage(block, 2 * out, 4 * w, blocks=three, stride=2)
        self.layer4 = _stage(block, 4 * out, 8 * w, blocks=four, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * out, classes)

    def forward(self, x: Images) -> Float[Tensor, "batch classes"]:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class ResNet(Architecture):
    """Residual networks with batch normalisation (He et al. 2016, arXiv 1512.03385).

    As there, but for small images: the first convolution is 3 x 3 of stride 1 and no pool follows it. Names
    and shapes are those of `torchvision.models.resnet18` and `resnet50` (`layer2.0.downsample.0.weight`),
    so that weights move both ways, except for `conv1.weight`, which is 7 x 7 there.

    For base width w, k input channels and c classes, beside the statistics of the normalisations:

    | layers | parameters | numbers of statistics | at w = 64, k = 3, c = 10 |
    |---|---|---|---|
    | 18 | `2724 w^2 + (9 k + 150) w + c (8 w + 1)` | `150 w + 20` | 11,173,962 parameters |
    | 50 | `5724 w^2 + (9 k + 830) w + c (32 w + 1)` | `830 w + 53` | 23,520,842 parameters |
    """

    name = "resnet"
    options = ResNetOptions

    def build(self, options: ArchitectureOptions, data: DataShape) -> nn.Module:
        """Build the network.

        Args:
            options: A `ResNetOptions`.
            data: Shape of the inputs, number of classes.

        Returns:
            From `(batch, channels, height, width)` to logits `(batch, n_classes)`.

        Raises:
            SpecificationError: The inputs are no images.
        """
        channels, _, _ = need_images(self.name, data)
        return _ResNet(ResNetOptions.model_validate(options.model_dump()), channels, data.classes)

    def initialise(self, module: nn.Module, generator: Generator) -> None:
        """Draw the initial weights as the published populations of ResNets began.

        Kernels and the matrix of the last layer come from `U(-b, b)` with `b = sqrt(6 / fan_in)` (He et al.
        2015, arXiv 1502.01852, section 2.2), its bias is 0.01; normalisations begin at gain 1, shift 0 and
        fresh statistics.

        Args:
            module: A network that `build` made.
            generator: Source of all randomness.
        """
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
                if layer.bias is not None:
                    nn.init.constant_(layer.bias, _FIRST_BIAS)
            elif isinstance(layer, NORMS):
                layer.reset_parameters()

    def symmetry(self, module: nn.Module) -> Symmetry:
        """Say how channels can be permuted: those of a stage all together, and those within each block.

        Shortcuts without a convolution add channel to channel, so the blocks between two that have one share
        their order; in ResNet-18 the stem and the first stage do.

        Args:
            module: A network that `build` made; its weights are not looked at.

        Returns:
            Groups `conv1`, the stem; `layer1`, ..., what stages give; `layer1.0.conv1`, ..., within blocks.
        """
        draft = Draft(module)
        flow = draft.units("conv1", module.get_parameter("bn1.weight").numel())
        draft.see(flow, "relu")
        draft.layer("conv1", flow)
        draft.layer("bn1", flow)
        for name, block in module.named_modules():
            if isinstance(block, _Basic | _Bottleneck):
                flow = _enter(draft, block, name, below=flow)
                draft.see(flow, name)
        draft.layer("fc", None, flow)
        return draft.finish()


def _enter(draft: Draft, block: _Basic | _Bottleneck, name: str, *, below: Axis) -> Axis:
    """Enter a block, and give the channels that it makes."""
    inner = ("1",) if isinstance(block, _Basic) else ("1", "2")
    flow = below
    for number in inner:
        norm = block.get_parameter(f"bn{number}.weight")
        above = draft.units(f"{name}.conv{number}", norm.numel())
        draft.see(above, f"{name}.bn{number}")
        draft.layer(f"{name}.conv{number}", above, flow)
        draft.layer(f"{name}.bn{number}", above)
        flow = above
    last = len(inner) + 1
    out = below
    if block.downsample is not None:
        stage = name.partition(".")[0]
        out = draft.units(stage, block.get_parameter(f"bn{last}.weight").numel())
        draft.layer(f"{name}.downsample.0", out, below)
        draft.layer(f"{name}.downsample.1", out)
    draft.layer(f"{name}.conv{last}", out, flow)
    draft.layer(f"{name}.bn{last}", out)
    return out
