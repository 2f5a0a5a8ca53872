"""The networks of tests/parity/networks.py as torch modules, in the order zennit expects.

Activations, pools and sums are modules, since zennit sees nothing else; children are registered
in the order of the forward pass, since its canonizers and its first layer go by that.
"""

from collections import OrderedDict

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from zennit.layer import Sum


class Residual(nn.Module):
    """x + branch(x), with a sum that zennit sees."""

    def __init__(self, **branch):
        super().__init__()
        self.names = tuple(branch)
        for name, module in branch.items():
            self.add_module(name, module)
        self.sum = Sum()

    def forward(self, x):
        y = x
        for name in self.names:
            y = getattr(self, name)(y)
        return self.sum(torch.stack([x, y], dim=-1))


def chain(**modules):
    return nn.Sequential(OrderedDict(modules))


def mlp():
    return chain(
        fc1=nn.Linear(10, 16),
        relu1=nn.ReLU(),
        fc2=nn.Linear(16, 12),
        bn=nn.BatchNorm1d(12),
        relu2=nn.ReLU(),
        fc3=nn.Linear(12, 5),
    )


def cnn():
    """Stride, groups, dilation, both poolings; a BatchNorm that no layer takes in."""
    return chain(
        conv1=nn.Conv2d(3, 8, 3, stride=2, padding=1),
        relu1=nn.ReLU(),
        bn=nn.BatchNorm2d(8),
        conv2=nn.Conv2d(8, 8, 3, padding=1, groups=2),
        relu2=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        conv3=nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        relu3=nn.ReLU(),
        avgpool=nn.AvgPool2d(3, stride=2, padding=1),
        conv4=nn.Conv2d(8, 6, (1, 2)),
        relu4=nn.ReLU(),
        flatten=nn.Flatten(),
        fc=nn.Linear(12, 5),
    )


def vgg():
    return chain(
        conv1=nn.Conv2d(3, 6, 3, padding=1),
        bn1=nn.BatchNorm2d(6),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(6, 6, 3, padding=1),
        bn2=nn.BatchNorm2d(6),
        relu2=nn.ReLU(),
        maxpool1=nn.MaxPool2d(2),
        conv3=nn.Conv2d(6, 8, 3, padding=1),
        bn3=nn.BatchNorm2d(8),
        relu3=nn.ReLU(),
        maxpool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(32, 10),
        relu4=nn.ReLU(),
        fc2=nn.Linear(10, 5),
    )


def resnet(*blocks, features):
    """A torchvision ResNet of one block per stage."""
    width = blocks[0].conv1.in_channels
    stages = {f"layer{i}": nn.Sequential(block) for i, block in enumerate(blocks, 1)}
    return chain(
        conv1=nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        **stages,
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(features, 5),
    )


def downsample(channels, features, stride):
    conv = nn.Conv2d(channels, features, 1, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(features))


def resnet_basic():
    return resnet(
        BasicBlock(6, 6),
        BasicBlock(6, 8, stride=2, downsample=downsample(6, 8, 2)),
        features=8,
    )


def resnet_bottleneck():
    return resnet(
        Bottleneck(8, 2),
        Bottleneck(8, 3, stride=2, downsample=downsample(8, 12, 2)),
        features=12,
    )


def conv_norm(channels, features, window, stride=1, groups=1, act=True):
    options = {"stride": stride, "padding": window // 2, "groups": groups, "bias": False}
    modules = {
        "conv": nn.Conv2d(channels, features, window, **options),
        "norm": nn.BatchNorm2d(features),
    }
    return chain(**modules, act=nn.ReLU6()) if act else chain(**modules)


def mobilenet():
    return chain(
        stem=conv_norm(3, 6, 3, stride=2),
        block1=chain(
            depthwise=conv_norm(6, 6, 3, stride=2, groups=6),
            project=conv_norm(6, 4, 1, act=False),
        ),
        block2=Residual(
            expand=conv_norm(4, 8, 1),
            depthwise=conv_norm(8, 8, 3, groups=8),
            project=conv_norm(8, 4, 1, act=False),
        ),
        head=conv_norm(4, 8, 1),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(8, 5),
    )


def gelu():
    return chain(
        conv1=nn.Conv2d(3, 6, 3, padding=1),
        gelu1=nn.GELU(approximate="tanh"),
        conv2=nn.Conv2d(6, 6, 3, stride=2, padding=1),
        gelu2=nn.GELU(),
        conv3=nn.Conv2d(6, 8, 3),
        silu=nn.SiLU(),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc1=nn.Linear(8, 10),
        gelu3=nn.GELU(approximate="tanh"),
        fc2=nn.Linear(10, 5),
    )


def tanh():
    """Signed activations, and two that are not zero at zero."""
    return chain(
        conv1=nn.Conv2d(3, 6, 3, padding=1),
        bn1=nn.BatchNorm2d(6),
        tanh1=nn.Tanh(),
        conv2=nn.Conv2d(6, 6, 3, stride=2, padding=1),
        sigmoid=nn.Sigmoid(),
        conv3=nn.Conv2d(6, 4, 2, stride=2),
        softplus=nn.Softplus(),
        flatten=nn.Flatten(),
        fc1=nn.Linear(16, 10),
        elu=nn.ELU(),
        fc2=nn.Linear(10, 5),
    )


def conv1d():
    return chain(
        conv1=nn.Conv1d(4, 6, 5, stride=2, padding=2),
        bn1=nn.BatchNorm1d(6),
        relu1=nn.ReLU(),
        maxpool=nn.MaxPool1d(3, stride=2, padding=1),
        conv2=nn.Conv1d(6, 8, 3, padding=2, dilation=2),
        relu2=nn.LeakyReLU(0.01),
        avgpool=nn.AvgPool1d(3, stride=2),
        up=nn.ConvTranspose1d(8, 6, 4, stride=2, padding=1),
        relu3=nn.ReLU(),
        flatten=nn.Flatten(),
        fc=nn.Linear(24, 5),
    )


def transposed():
    return chain(
        conv1=nn.Conv2d(3, 6, 3, stride=2, padding=1),
        relu1=nn.ReLU(),
        up1=nn.ConvTranspose2d(6, 6, 3, stride=2, padding=1, output_padding=1),
        bn1=nn.BatchNorm2d(6),
        relu2=nn.ReLU(),
        up2=nn.ConvTranspose2d(6, 4, 2, stride=2),
        relu3=nn.ReLU(),
        conv2=nn.Conv2d(4, 4, 3, stride=2),
        relu4=nn.ReLU(),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(4, 5),
    )


BUILDERS = {
    f.__name__: f
    for f in (
        mlp,
        cnn,
        vgg,
        resnet_basic,
        resnet_bottleneck,
        mobilenet,
        gelu,
        tanh,
        conv1d,
        transposed,
    )
}


def load(module, weights):
    """A module in float64 and evaluation mode with exactly these weights."""
    expected = {k for k in module.state_dict() if not k.endswith("num_batches_tracked")}
    if expected != set(weights):
        raise ValueError(f"weights of other names: {sorted(expected ^ set(weights))}")
    arrays = {name: torch.from_numpy(array) for name, array in weights.items()}
    module.double().load_state_dict(arrays, strict=False)
    return module.eval()
