"""PBT for sequences of different lengths: examples are dicts, and a `collate_fn` pads them. Are the brackets balanced?"""

import random

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

import hpo

SYMBOLS = "()[]"


def brackets(count, seed):
    """Return texts of 2 to 16 brackets, every other one balanced, with their labels."""
    rng = random.Random(seed)
    examples = []
    for number in range(count):
        text = ""
        for _ in range(rng.randint(1, 8)):
            pair = rng.choice(["()", "[]"])
            text = rng.choice([text + pair, pair[0] + text + pair[1]])
        if number % 2:
            at = rng.randrange(len(text))  # one bracket is replaced by another
            text = text[:at] + rng.choice(SYMBOLS.replace(text[at], "")) + text[at + 1 :]
        examples.append({"text": text, "label": number % 2})
    return examples


def padded(examples):
    """Return one dict for a whole batch."""
    tokens = [torch.tensor([SYMBOLS.index(each) + 1 for each in example["text"]]) for example in examples]
    return {
        "tokens": pad_sequence(tokens, batch_first=True),
        "lengths": torch.tensor([*map(len, tokens)]),
        "labels": torch.tensor([example["label"] for example in examples]),
    }


def data():
    return hpo.Data(brackets(800, seed=0), test=brackets(400, seed=1), collate_fn=padded)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(SYMBOLS) + 1, 8, padding_idx=0)
        self.recurrent = nn.GRU(8, 32, batch_first=True)
        self.head = nn.Linear(32, 2)

    def forward(self, batch):
        embedded = self.embedding(batch["tokens"])
        packed = pack_padded_sequence(embedded, batch["lengths"], batch_first=True, enforce_sorted=False)
        return self.head(self.recurrent(packed)[1][-1])


class Brackets:
    def __init__(self, hparams):
        self.model = Network()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), **hparams)

    def train(self, batches):
        for batch in batches:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(batch), batch["labels"]).backward()
            self.optimizer.step()

    def evaluate(self, examples):
        with torch.no_grad():
            wrong = sum((self.model(batch).argmax(1) != batch["labels"]).sum().item() for batch in examples)
        return {"error": wrong / len(examples.dataset)}


space = {"lr": hpo.Float(1e-3, 3e-2, log=True), "weight_decay": hpo.Float(1e-4, 1, log=True)}


if __name__ == "__main__":
    result = hpo.tune(
        Brackets,
        space,
        metric="error",
        data=data,
        batch_size=32,
        validation_size=200,
        drop_last=True,
        optimizer="pbt",
        population_size=5,
        budget=6,
    )
    print(result.best)
