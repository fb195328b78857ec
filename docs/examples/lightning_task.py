"""Population based training of a PyTorch Lightning module, with its own optimizer and learning rate schedule."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import hpo
from hpo.tasks.lightning import LightningLoop


class Classifier(lightning.LightningModule):
    def __init__(self, lr, dropout):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))

    def training_step(self, batch, _):
        inputs, targets = batch
        return nn.functional.cross_entropy(self.net(inputs), targets)

    def validation_step(self, batch, _):
        inputs, targets = batch
        outputs = self.net(inputs)
        self.log("val_loss", nn.functional.cross_entropy(outputs, targets))
        self.log("val_error", (outputs.argmax(1) != targets).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.hparams.lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Blobs(lightning.LightningDataModule):
    def setup(self, stage):
        generator = torch.Generator().manual_seed(0)
        targets = torch.randint(0, 3, (200,), generator=generator)
        inputs = torch.randn(200, 8, generator=generator) + nn.functional.one_hot(targets, 8)
        self.parts = random_split(TensorDataset(inputs, targets), [150, 50], generator)

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=25, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=50)


class Training(LightningLoop):
    def module(self, hparams):
        return Classifier(hparams["lr"], hparams["dropout"])

    def trainer(self, hparams, **options):
        return lightning.Trainer(gradient_clip_val=1.0, **options)

    def data(self, hparams):
        return Blobs()


if __name__ == "__main__":
    result = hpo.tune(
        Training,
        {"lr": hpo.Float(1e-3, 1e-1, log=True), "dropout": hpo.Float(0.0, 0.5)},
        metric="val_loss",
        unit="epochs",
        optimizer="pbt",
        population_size=5,
        budget=3,
    )
    print(result.best)
    print(result.frame()[["member", "interval", "lr", "val_loss", "val_error"]])
