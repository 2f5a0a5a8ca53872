"""The networks of parity/networks.py as Linen modules, channels last."""

from functools import partial

import flax.linen as nn

BatchNorm = partial(nn.BatchNorm, use_running_average=True)
Conv3 = partial(nn.Conv, kernel_size=(3, 3), padding=1)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(16, name="fc1")(x))
        x = nn.relu(BatchNorm(name="bn")(nn.Dense(12, name="fc2")(x)))
        return nn.Dense(5, name="fc3")(x)


class Cnn(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(Conv3(8, strides=2, name="conv1")(x))
        x = BatchNorm(name="bn")(x)
        x = nn.relu(Conv3(8, feature_group_count=2, name="conv2")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        x = nn.relu(nn.Conv(8, (3, 3), padding=2, kernel_dilation=2, name="conv3")(x))
        x = nn.avg_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        x = nn.relu(nn.Conv(6, (1, 2), padding="VALID", name="conv4")(x))
        return nn.Dense(5, name="fc")(x.reshape(x.shape[0], -1))


class Vgg(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(BatchNorm(name="bn1")(Conv3(6, name="conv1")(x)))
        x = nn.relu(BatchNorm(name="bn2")(Conv3(6, name="conv2")(x)))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(BatchNorm(name="bn3")(Conv3(8, name="conv3")(x)))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(5, name="fc2")(nn.relu(nn.Dense(10, name="fc1")(x)))


class Block(nn.Module):
    """What torchvision's two residual blocks share; `windows` are those of its convolutions."""

    features: tuple[int, ...]
    windows: tuple[int, ...]
    strided: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        y = x
        for i, (features, window) in enumerate(zip(self.features, self.windows, strict=True)):
            stride = self.stride if i == self.strided else 1
            conv = nn.Conv(
                features,
                (window, window),
                stride,
                padding=window // 2,
                use_bias=False,
                name=f"conv{i + 1}",
            )
            y = BatchNorm(name=f"bn{i + 1}")(conv(y))
            y = nn.relu(y) if i < len(self.features) - 1 else y
        if x.shape != y.shape:
            shortcut = nn.Conv(
                y.shape[-1], (1, 1), self.stride, use_bias=False, name="downsample_0"
            )
            x = BatchNorm(name="downsample_1")(shortcut(x))
        return nn.relu(y + x)


def basic_block(features, stride=1, **kwargs):
    return Block((features, features), (3, 3), strided=0, stride=stride, **kwargs)


def bottleneck(planes, stride=1, **kwargs):
    return Block((planes, planes, 4 * planes), (1, 3, 1), strided=1, stride=stride, **kwargs)


class ResNet(nn.Module):
    width: int
    block: type
    sizes: tuple[int, int]

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (7, 7), 2, padding=3, use_bias=False, name="conv1")(x)
        x = nn.relu(BatchNorm(name="bn1")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        x = self.block(self.sizes[0], name="layer1_0")(x)
        x = self.block(self.sizes[1], stride=2, name="layer2_0")(x)
        return nn.Dense(5, name="fc")(x.mean((1, 2)))


class ConvNorm(nn.Module):
    features: int
    window: int
    stride: int = 1
    groups: int = 1
    act: bool = True

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(
            self.features,
            (self.window, self.window),
            self.stride,
            padding=self.window // 2,
            feature_group_count=self.groups,
            use_bias=False,
            name="conv",
        )(x)
        x = BatchNorm(name="norm")(x)
        return nn.relu6(x) if self.act else x


class InvertedResidual(nn.Module):
    features: int
    hidden: int
    stride: int = 1
    expand: bool = True

    @nn.compact
    def __call__(self, x):
        y = ConvNorm(self.hidden, 1, name="expand")(x) if self.expand else x
        y = ConvNorm(self.hidden, 3, self.stride, self.hidden, name="depthwise")(y)
        y = ConvNorm(self.features, 1, act=False, name="project")(y)
        return x + y if x.shape == y.shape else y


class MobileNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = ConvNorm(6, 3, stride=2, name="stem")(x)
        x = InvertedResidual(4, 6, stride=2, expand=False, name="block1")(x)
        x = InvertedResidual(4, 8, name="block2")(x)
        x = ConvNorm(8, 1, name="head")(x)
        return nn.Dense(5, name="fc")(x.mean((1, 2)))


class Gelu(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.gelu(Conv3(6, name="conv1")(x))
        x = nn.gelu(Conv3(6, strides=2, name="conv2")(x), approximate=False)
        x = nn.silu(nn.Conv(8, (3, 3), padding="VALID", name="conv3")(x)).mean((1, 2))
        return nn.Dense(5, name="fc2")(nn.gelu(nn.Dense(10, name="fc1")(x)))


class Tanh(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(BatchNorm(name="bn1")(Conv3(6, name="conv1")(x)))
        x = nn.sigmoid(Conv3(6, strides=2, name="conv2")(x))
        x = nn.softplus(nn.Conv(4, (2, 2), 2, padding="VALID", name="conv3")(x))
        x = nn.elu(nn.Dense(10, name="fc1")(x.reshape(x.shape[0], -1)))
        return nn.Dense(5, name="fc2")(x)


class Conv1d(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(6, (5,), 2, padding=2, name="conv1")(x)
        x = nn.relu(BatchNorm(name="bn1")(x))
        x = nn.max_pool(x, (3,), (2,), padding=((1, 1),))
        x = nn.Conv(8, (3,), padding=2, kernel_dilation=2, name="conv2")(x)
        x = nn.avg_pool(nn.leaky_relu(x), (3,), (2,))
        x = nn.relu(nn.ConvTranspose(6, (4,), (2,), padding=((2, 2),), name="up")(x))
        return nn.Dense(5, name="fc")(x.reshape(x.shape[0], -1))


class Transposed(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(Conv3(6, strides=2, name="conv1")(x))
        up = nn.ConvTranspose(6, (3, 3), (2, 2), padding=((1, 2), (1, 2)), name="up1")
        x = nn.relu(BatchNorm(name="bn1")(up(x)))
        x = nn.relu(nn.ConvTranspose(4, (2, 2), (2, 2), padding="VALID", name="up2")(x))
        x = nn.relu(nn.Conv(4, (3, 3), 2, padding="VALID", name="conv2")(x))
        return nn.Dense(5, name="fc")(x.mean((1, 2)))


MODULES = {
    "mlp": Mlp(),
    "cnn": Cnn(),
    "vgg": Vgg(),
    "resnet_basic": ResNet(6, basic_block, (6, 8)),
    "resnet_bottleneck": ResNet(8, bottleneck, (2, 3)),
    "mobilenet": MobileNet(),
    "gelu": Gelu(),
    "tanh": Tanh(),
    "conv1d": Conv1d(),
    "transposed": Transposed(),
}
