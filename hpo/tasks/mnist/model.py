"""The conv net of PyTorch's MNIST example as it was in 2018 (github.com/pytorch/examples, mnist/main.py)."""

from torch import Tensor, nn
from torch.nn.functional import relu

from hpo.tasks.torch import conv_pool_relu


class Net(nn.Module):
    """Two convolutions and two linear layers, 21,840 parameters; gives logits.

    The example ends in log-softmax and descends the negative log-likelihood; both are in the task's cross-entropy.
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
