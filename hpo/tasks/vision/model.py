"""A small conv net for images of 28 × 28 or 32 × 32 points."""

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

WIDTHS = (16, 32)


class ConvNet(nn.Module):
    """Two 3 × 3 convolutions, each with a max-pool, and two linear layers; gives the logits of ten classes.

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
