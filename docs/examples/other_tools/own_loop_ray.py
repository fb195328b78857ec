"""The job of own_loop.py in Ray Tune."""

import tempfile
from pathlib import Path

import torch
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
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


def train(config):
    torch.seed()  # every process of Ray starts with the same state of the generator
    parts = random_split(range(1797), [1397, 400], torch.Generator().manual_seed(0))
    train, validation = (
        Subset(Digits(augmented), list(part)) for part, augmented in zip(parts, (True, False), strict=True)
    )
    loader = DataLoader(train, batch_size=64, shuffle=True)
    training = Training(config["lr"], config["decay"], EPOCHS * len(loader))
    saved, start = ("model", "optimizer", "scheduler"), 0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder, "state.pt"))
        for name in saved:
            getattr(training, name).load_state_dict(state[name])
        for group in training.optimizer.param_groups:  # the checkpoint brought the donor's
            for rate in ("lr", "initial_lr", "max_lr", "min_lr"):
                group[rate] *= config["lr"] / state["lr"]
        training.optimizer.param_groups[0]["weight_decay"] = config["decay"]
        training.best, training.waited, start = state["best"], state["waited"], state["epoch"] + 1
    for epoch in range(start, EPOCHS):
        training.train(loader)
        error = training.evaluate(DataLoader(validation, batch_size=256))
        with tempfile.TemporaryDirectory() as folder:
            state = {name: getattr(training, name).state_dict() for name in saved}
            state |= {"epoch": epoch, "lr": config["lr"], "best": training.best, "waited": training.waited}
            torch.save(state, Path(folder, "state.pt"))
            metrics = {"error": error, "rate": training.optimizer.param_groups[0]["lr"]}
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))
        if training.waited == 3:
            break


if __name__ == "__main__":
    space = {"lr": tune.loguniform(1e-3, 1e-1), "decay": tune.loguniform(1e-4, 1.0)}
    pbt = PopulationBasedTraining("training_iteration", perturbation_interval=1, hyperparam_mutations=space)
    options = tune.TuneConfig(metric="error", mode="min", scheduler=pbt, num_samples=5, reuse_actors=True)
    best = tune.Tuner(train, tune_config=options).fit().get_best_result()
    print(best.config, f"validation error {best.metrics['error']:.3f}")
