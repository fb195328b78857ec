"""The two small conv nets of the image tasks."""

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from hpo.tasks.images.convolution import conv_pool_relu

WIDTHS = (16, 32)


class MnistNet(nn.Module):
    """The net of PyTorch's MNIST example as it was in 2018 (github.com/pytorch/examples, mnist/main.py), 21,840 parameters.

    It returns logits. The example ends in log-softmax and descends the negative log-likelihood; the task's cross-entropy does both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d(0.5)
        self.fc1 = nn.Linear(320, 50)
        self.fc1_drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (batch, 10), of normalised images, shape (batch, 1, 28, 28)."""
        x = conv_pool_relu(x, self.conv1.weight, self.conv1.bias)
        # The example drops channels before it pools them, which gives the same numbers at four times the cost.
        x = self.conv2_drop(conv_pool_relu(x, self.conv2.weight, self.conv2.bias))
        x = self.fc1_drop(relu(self.fc1(x.flatten(1))))
        return self.fc2(x)  # type: ignore[no-any-return]


class ConvNet(nn.Module):
    """Two 3 × 3 convolutions, each with a max-pool, and two linear layers; returns the logits of ten classes.

    Args:
        height: of an image, a multiple of 4.
        width: of an image, a multiple of 4.
        channels: 1 for grey, 3 for colour.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(WIDTHS[0], WIDTHS[1], kernel_size=3, padding=1)
        self.fc1 = nn.Linear(WIDTHS[1] * (height // 4) * (width // 4), 64)
        self.drop = nn.Dropout(0.25)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (batch, 10), of normalised images, shape (batch, channels, height, width)."""
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        return self.fc2(self.drop(relu(self.fc1(x.flatten(1)))))  # type: ignore[no-any-return]
