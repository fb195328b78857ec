"""PBT in a training loop of your own: interrupt it at any moment, run it again, and it goes on."""

from pathlib import Path

import torch
from sklearn.datasets import load_digits

import hpo

X, y = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
X = X.float() / 16
CHECKPOINTS = Path("checkpoints")


def train(trial):
    torch.manual_seed(1000 * trial.interval + trial.number)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    sgd = torch.optim.SGD(model.parameters())
    if trial.parent is not None:  # after an exploit, the donor's
        saved = torch.load(CHECKPOINTS / f"{trial.parent}.pt")
        model.load_state_dict(saved["model"])
        sgd.load_state_dict(saved["sgd"])
    sgd.param_groups[0].update(trial.hparams)  # last: a checkpoint brings its own learning rate
    for batch in torch.randperm(1200).split(50):
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
        sgd.step()
    torch.save({"model": model.state_dict(), "sgd": sgd.state_dict()}, CHECKPOINTS / f"{trial.key}.pt")
    return (model(X[1200:]).argmax(1) != y[1200:]).float().mean()


if __name__ == "__main__":
    CHECKPOINTS.mkdir(exist_ok=True)
    space = {"lr": hpo.Float(1e-4, 1, log=True), "momentum": hpo.Float(0, 0.99)}
    search = hpo.ask_tell(space, optimizer="pbt", population_size=8, intervals=10, file="search.jsonl")
    for trial in search:
        search.tell(trial, train(trial))
    for trial in search.lineage(search.best):
        print(trial.key, dict(trial.hparams), round(trial.value, 3))
