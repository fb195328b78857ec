"""The job of lightning_task.py in Ray Tune."""

from pathlib import Path

import lightning
import torch
from ray import tune
from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback
from ray.tune.schedulers import PopulationBasedTraining
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


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

    def on_load_checkpoint(self, checkpoint):  # it brings the donor's rates
        ratio = self.hparams.lr / checkpoint["hyper_parameters"]["lr"]
        for group in checkpoint["optimizer_states"][0]["param_groups"]:
            for rate in ("lr", "initial_lr", "max_lr", "min_lr"):
                group[rate] *= ratio


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


def train(config):
    torch.seed()  # every process of Ray starts with the same state of the generator
    report = TuneReportCheckpointCallback(["val_loss", "val_error"])
    trainer = lightning.Trainer(
        max_epochs=3, gradient_clip_val=1.0, callbacks=[report], logger=False, enable_checkpointing=False
    )
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            trainer.fit(Classifier(**config), Blobs(), ckpt_path=Path(folder, "checkpoint"))
    else:
        trainer.fit(Classifier(**config), Blobs())


if __name__ == "__main__":
    space = {"lr": tune.loguniform(1e-3, 1e-1), "dropout": tune.uniform(0.0, 0.5)}
    pbt = PopulationBasedTraining("training_iteration", perturbation_interval=1, hyperparam_mutations=space)
    options = tune.TuneConfig(metric="val_loss", mode="min", scheduler=pbt, num_samples=5, reuse_actors=True)
    results = tune.Tuner(train, tune_config=options).fit()
    best = results.get_best_result()
    print(best.config, f"validation loss {best.metrics['val_loss']:.3f}")
