"""PBT for a folder of images: augmented for training, plain for validation and test, and read by DataLoader workers."""

from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Grayscale, RandomAffine, ToTensor

import hpo

FOLDER = Path("runs/digit_images")


def write_images():
    """Write scikit-learn's digits as folder/<part>/<class>/<number>.png."""
    pixels, classes = load_digits(return_X_y=True)
    for number, (image, label) in enumerate(zip(pixels[:900], classes[:900], strict=True)):
        part = "train" if number < 700 else "test"
        file = FOLDER / part / str(label) / f"{number}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15).reshape(8, 8).astype("uint8")).save(file)


def data():
    write_images()
    plain = Compose([Grayscale(), ToTensor()])
    augmented = Compose([Grayscale(), RandomAffine(degrees=10, translate=(0.1, 0.1)), ToTensor()])
    return hpo.Data(
        ImageFolder(FOLDER / "train", augmented),
        evaluation=ImageFolder(FOLDER / "train", plain),
        test=ImageFolder(FOLDER / "test", plain),
        workers=2,
        fingerprint="content",  # the files are few
    )


class Digits:
    def __init__(self, hparams):
        self.model = nn.Sequential(
            nn.Conv2d(1, 16, 3),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(hparams["dropout"]),
            nn.Linear(16 * 6 * 6, 10),
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=hparams["lr"], momentum=0.9)

    def train(self, batches):
        self.model.train()
        for images, classes in batches:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(images), classes).backward()
            self.optimizer.step()

    def evaluate(self, examples):
        self.model.eval()
        with torch.no_grad():
            wrong = sum((self.model(images).argmax(1) != classes).sum().item() for images, classes in examples)
        return {"error": wrong / len(examples.dataset)}


space = {"lr": hpo.Float(1e-3, 1, log=True), "dropout": hpo.Float(0, 0.8)}


if __name__ == "__main__":
    result = hpo.tune(
        Digits,
        space,
        metric="error",
        data=data,
        batch_size=50,
        validation_size=200,
        optimizer="pbt",
        population_size=5,
        budget=4,
        workers=2,
    )
    print(result.best)
