"""The loop of own_loop_plain.py in Optuna, which has no population based training: TPE, and a median pruner."""

import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, random_split

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


def objective(trial):
    lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    decay = trial.suggest_float("decay", 1e-4, 1.0, log=True)
    parts = random_split(range(1797), [1397, 400], torch.Generator().manual_seed(0))
    train, validation = (
        Subset(Digits(augmented), list(part)) for part, augmented in zip(parts, (True, False), strict=True)
    )
    loader = DataLoader(train, batch_size=64, shuffle=True)
    training = Training(lr, decay, EPOCHS * len(loader))
    for epoch in range(EPOCHS):
        training.train(loader)
        error = training.evaluate(DataLoader(validation, batch_size=256))
        trial.report(error, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
        if training.waited == 3:
            break
    return error


if __name__ == "__main__":
    torch.manual_seed(0)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=8)
    print(study.best_params, f"validation error {study.best_value:.3f}")
