"""The networks of parity/networks.py as NNX modules, channels last."""

from functools import partial

from flax import nnx
from flax.nnx import ConvTranspose, Linear

Conv3 = partial(nnx.Conv, kernel_size=(3, 3), padding=1)
BatchNorm = partial(nnx.BatchNorm, use_running_average=True)


def flat(x):
    return x.reshape(x.shape[0], -1)


class Mlp(nnx.Module):
    def __init__(self, rngs):
        self.fc1 = Linear(10, 16, rngs=rngs)
        self.fc2 = Linear(16, 12, rngs=rngs)
        self.bn = BatchNorm(12, rngs=rngs)
        self.fc3 = Linear(12, 5, rngs=rngs)

    def __call__(self, x):
        return self.fc3(nnx.relu(self.bn(self.fc2(nnx.relu(self.fc1(x))))))


class Cnn(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = Conv3(3, 8, strides=2, rngs=rngs)
        self.bn = BatchNorm(8, rngs=rngs)
        self.conv2 = Conv3(8, 8, feature_group_count=2, rngs=rngs)
        self.conv3 = nnx.Conv(8, 8, (3, 3), padding=2, kernel_dilation=2, rngs=rngs)
        self.conv4 = nnx.Conv(8, 6, (1, 2), padding="VALID", rngs=rngs)
        self.fc = Linear(12, 5, rngs=rngs)

    def __call__(self, x):
        x = self.bn(nnx.relu(self.conv1(x)))
        x = nnx.relu(self.conv2(x))
        x = nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        x = nnx.relu(self.conv3(x))
        x = nnx.avg_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        return self.fc(flat(nnx.relu(self.conv4(x))))


class Vgg(nnx.Module):
    def __init__(self, rngs):
        self.conv1, self.bn1 = Conv3(3, 6, rngs=rngs), BatchNorm(6, rngs=rngs)
        self.conv2, self.bn2 = Conv3(6, 6, rngs=rngs), BatchNorm(6, rngs=rngs)
        self.conv3, self.bn3 = Conv3(6, 8, rngs=rngs), BatchNorm(8, rngs=rngs)
        self.fc1, self.fc2 = Linear(32, 10, rngs=rngs), Linear(10, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.bn1(self.conv1(x)))
        x = nnx.max_pool(nnx.relu(self.bn2(self.conv2(x))), (2, 2), (2, 2))
        x = nnx.max_pool(nnx.relu(self.bn3(self.conv3(x))), (2, 2), (2, 2))
        return self.fc2(nnx.relu(self.fc1(flat(x))))


class BasicBlock(nnx.Module):
    def __init__(self, channels, features, stride, rngs):
        self.conv1 = Conv3(channels, features, strides=stride, use_bias=False, rngs=rngs)
        self.bn1 = BatchNorm(features, rngs=rngs)
        self.conv2 = Conv3(features, features, use_bias=False, rngs=rngs)
        self.bn2 = BatchNorm(features, rngs=rngs)
        _downsample(self, channels, features, stride, rngs)

    def __call__(self, x):
        y = nnx.relu(self.bn1(self.conv1(x)))
        return nnx.relu(self.bn2(self.conv2(y)) + _shortcut(self, x))


class Bottleneck(nnx.Module):
    def __init__(self, channels, planes, stride, rngs):
        features = 4 * planes
        self.conv1 = nnx.Conv(channels, planes, (1, 1), use_bias=False, rngs=rngs)
        self.bn1 = BatchNorm(planes, rngs=rngs)
        self.conv2 = Conv3(planes, planes, strides=stride, use_bias=False, rngs=rngs)
        self.bn2 = BatchNorm(planes, rngs=rngs)
        self.conv3 = nnx.Conv(planes, features, (1, 1), use_bias=False, rngs=rngs)
        self.bn3 = BatchNorm(features, rngs=rngs)
        _downsample(self, channels, features, stride, rngs)

    def __call__(self, x):
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = nnx.relu(self.bn2(self.conv2(y)))
        return nnx.relu(self.bn3(self.conv3(y)) + _shortcut(self, x))


def _downsample(block, channels, features, stride, rngs):
    block.shrinks = channels != features
    if block.shrinks:
        block.downsample_0 = nnx.Conv(channels, features, (1, 1), stride, use_bias=False, rngs=rngs)
        block.downsample_1 = BatchNorm(features, rngs=rngs)


def _shortcut(block, x):
    return block.downsample_1(block.downsample_0(x)) if block.shrinks else x


class ResNet(nnx.Module):
    def __init__(self, width, first, second, features, rngs):
        self.conv1 = nnx.Conv(3, width, (7, 7), 2, padding=3, use_bias=False, rngs=rngs)
        self.bn1 = BatchNorm(width, rngs=rngs)
        self.layer1_0, self.layer2_0 = first, second
        self.fc = Linear(features, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.bn1(self.conv1(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        return self.fc(self.layer2_0(self.layer1_0(x)).mean((1, 2)))


def resnet_basic(rngs):
    return ResNet(6, BasicBlock(6, 6, 1, rngs), BasicBlock(6, 8, 2, rngs), 8, rngs)


def resnet_bottleneck(rngs):
    return ResNet(8, Bottleneck(8, 2, 1, rngs), Bottleneck(8, 3, 2, rngs), 12, rngs)


class ConvNorm(nnx.Module):
    def __init__(self, channels, features, window, rngs, stride=1, groups=1, act=True):
        self.conv = nnx.Conv(
            channels,
            features,
            (window, window),
            stride,
            padding=window // 2,
            feature_group_count=groups,
            use_bias=False,
            rngs=rngs,
        )
        self.norm = BatchNorm(features, rngs=rngs)
        self.act = act

    def __call__(self, x):
        x = self.norm(self.conv(x))
        return nnx.relu6(x) if self.act else x


class Separable(nnx.Module):
    def __init__(self, channels, features, stride, rngs):
        self.depthwise = ConvNorm(channels, channels, 3, rngs, stride, channels)
        self.project = ConvNorm(channels, features, 1, rngs, act=False)

    def __call__(self, x):
        return self.project(self.depthwise(x))


class InvertedResidual(nnx.Module):
    def __init__(self, channels, hidden, rngs):
        self.expand = ConvNorm(channels, hidden, 1, rngs)
        self.depthwise = ConvNorm(hidden, hidden, 3, rngs, groups=hidden)
        self.project = ConvNorm(hidden, channels, 1, rngs, act=False)

    def __call__(self, x):
        return x + self.project(self.depthwise(self.expand(x)))


class MobileNet(nnx.Module):
    def __init__(self, rngs):
        self.stem = ConvNorm(3, 6, 3, rngs, stride=2)
        self.block1 = Separable(6, 4, 2, rngs)
        self.block2 = InvertedResidual(4, 8, rngs)
        self.head = ConvNorm(4, 8, 1, rngs)
        self.fc = Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        x = self.head(self.block2(self.block1(self.stem(x))))
        return self.fc(x.mean((1, 2)))


class Gelu(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = Conv3(3, 6, rngs=rngs)
        self.conv2 = Conv3(6, 6, strides=2, rngs=rngs)
        self.conv3 = nnx.Conv(6, 8, (3, 3), padding="VALID", rngs=rngs)
        self.fc1, self.fc2 = Linear(8, 10, rngs=rngs), Linear(10, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.gelu(self.conv2(nnx.gelu(self.conv1(x))), approximate=False)
        x = nnx.silu(self.conv3(x)).mean((1, 2))
        return self.fc2(nnx.gelu(self.fc1(x)))


class Tanh(nnx.Module):
    def __init__(self, rngs):
        self.conv1, self.bn1 = Conv3(3, 6, rngs=rngs), BatchNorm(6, rngs=rngs)
        self.conv2 = Conv3(6, 6, strides=2, rngs=rngs)
        self.conv3 = nnx.Conv(6, 4, (2, 2), 2, padding="VALID", rngs=rngs)
        self.fc1, self.fc2 = Linear(16, 10, rngs=rngs), Linear(10, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.sigmoid(self.conv2(nnx.tanh(self.bn1(self.conv1(x)))))
        x = flat(nnx.softplus(self.conv3(x)))
        return self.fc2(nnx.elu(self.fc1(x)))


class Conv1d(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(4, 6, (5,), 2, padding=2, rngs=rngs)
        self.bn1 = BatchNorm(6, rngs=rngs)
        self.conv2 = nnx.Conv(6, 8, (3,), padding=2, kernel_dilation=2, rngs=rngs)
        self.up = ConvTranspose(8, 6, (4,), (2,), padding=((2, 2),), rngs=rngs)
        self.fc = Linear(24, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.bn1(self.conv1(x))), (3,), (2,), padding=((1, 1),))
        x = nnx.avg_pool(nnx.leaky_relu(self.conv2(x)), (3,), (2,))
        return self.fc(flat(nnx.relu(self.up(x))))


class Transposed(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = Conv3(3, 6, strides=2, rngs=rngs)
        self.up1 = ConvTranspose(6, 6, (3, 3), (2, 2), padding=((1, 2), (1, 2)), rngs=rngs)
        self.bn1 = BatchNorm(6, rngs=rngs)
        self.up2 = ConvTranspose(6, 4, (2, 2), (2, 2), padding="VALID", rngs=rngs)
        self.conv2 = nnx.Conv(4, 4, (3, 3), 2, padding="VALID", rngs=rngs)
        self.fc = Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.bn1(self.up1(nnx.relu(self.conv1(x)))))
        x = nnx.relu(self.conv2(nnx.relu(self.up2(x))))
        return self.fc(x.mean((1, 2)))


MAKERS = {
    "mlp": Mlp,
    "cnn": Cnn,
    "vgg": Vgg,
    "resnet_basic": resnet_basic,
    "resnet_bottleneck": resnet_bottleneck,
    "mobilenet": MobileNet,
    "gelu": Gelu,
    "tanh": Tanh,
    "conv1d": Conv1d,
    "transposed": Transposed,
}
