"""The loop of own_loop_plain.py under population based training: its learning rate and weight decay become schedules."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import Dataset

import hpo

EPOCHS = 6


class Digits(Dataset):
    def __init__(self, augmented):
        images, targets = load_digits(return_X_y=True)
        self.images = torch.tensor(images / 16).float().view(-1, 1, 8, 8)
        self.targets = torch.tensor(targets)
        self.augmented = augmented

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        if self.augmented:  # move it by up to a pixel
            image = torch.roll(image, tuple(torch.randint(-1, 2, (2,)).tolist()), (1, 2))
        return image, self.targets[index]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(16 * 36, 10)

    def forward(self, images):
        return self.head(self.body(images))


class Training:
    def __init__(self, hparams, steps):
        self.model = Net()
        groups = [{"params": self.model.body.parameters()}, {"params": self.model.head.parameters(), "weight_decay": 0}]
        self.optimizer = torch.optim.AdamW(groups, lr=hparams["lr"], weight_decay=hparams["decay"])
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, hparams["lr"], total_steps=steps)
        self.best, self.waited, self.finished = 1.0, 0, False

    def train(self, batches):
        self.model.train()
        for images, targets in batches:
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(self.model(images), targets)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.scheduler.step()

    def evaluate(self, batches):
        self.model.eval()
        with torch.no_grad():
            right = torch.cat([self.model(images).argmax(1) == targets for images, targets in batches])
        error = 1 - right.float().mean().item()
        self.best, self.waited = (error, 0) if error < self.best else (self.best, self.waited + 1)
        self.finished = self.waited == 3
        return {"error": error, "rate": self.optimizer.param_groups[0]["lr"]}


def data():
    return hpo.Data(Digits(augmented=True), evaluation=Digits(augmented=False))


def main():
    result = hpo.tune(
        Training,
        {"lr": hpo.Float(1e-3, 1e-1, log=True), "decay": hpo.Float(1e-4, 1.0, log=True)},
        metric="error",
        data=data,
        batch_size=64,
        validation_size=400,
        optimizer="pbt",
        population_size=5,
        budget=EPOCHS,
    )
    print(result.best.schedule, f"validation error {result.best.value:.3f}")


if __name__ == "__main__":
    main()
