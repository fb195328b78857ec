"""A training loop as people write it: one learning rate, one run."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split

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
    def __init__(self, lr, decay, steps):
        self.model = Net()
        groups = [{"params": self.model.body.parameters()}, {"params": self.model.head.parameters(), "weight_decay": 0}]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=decay)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, lr, total_steps=steps)
        self.best, self.waited = 1.0, 0

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
        return error


def main():
    torch.manual_seed(0)
    indices = random_split(range(1797), [1397, 400])
    train, validation = (
        torch.utils.data.Subset(Digits(augmented), list(part))
        for part, augmented in zip(indices, (True, False), strict=True)
    )
    loader = DataLoader(train, batch_size=64, shuffle=True)
    training = Training(lr=0.01, decay=0.01, steps=EPOCHS * len(loader))
    for epoch in range(EPOCHS):
        training.train(loader)
        error = training.evaluate(DataLoader(validation, batch_size=256))
        print(f"epoch {epoch + 1}: error {error:.3f}")
        if training.waited == 3:
            break


if __name__ == "__main__":
    main()
