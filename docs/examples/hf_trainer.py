"""Population based training with the Trainer of Hugging Face transformers: a tiny BERT with random weights, made here."""

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import hpo
from hpo.tasks.transformers import TransformersLoop

WORDS, LENGTH = 20, 6


def sentences(number, seed):
    """Sequences of words; the label says whether words above the middle are the majority."""
    words = torch.randint(0, WORDS, (number, LENGTH), generator=torch.Generator().manual_seed(seed))
    labels = ((words >= WORDS // 2).sum(1) > LENGTH // 2).long()
    return [{"input_ids": ids, "labels": label} for ids, label in zip(words, labels, strict=True)]


def error(predicted):
    return {"error": float(np.mean(predicted.predictions.argmax(1) != predicted.label_ids))}


class Training(TransformersLoop):
    def trainer(self, hparams, **arguments):
        config = BertConfig(
            vocab_size=WORDS,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=LENGTH,
        )
        arguments = TrainingArguments(
            learning_rate=hparams["lr"],
            weight_decay=hparams["weight_decay"],
            lr_scheduler_type="cosine",
            warmup_steps=4,
            per_device_train_batch_size=16,
            **arguments,
        )
        return Trainer(
            BertForSequenceClassification(config),
            arguments,
            train_dataset=sentences(120, seed=1),
            eval_dataset=sentences(60, seed=2),
            compute_metrics=error,
        )


if __name__ == "__main__":
    result = hpo.tune(
        Training,
        {"lr": hpo.Float(1e-3, 1e-1, log=True), "weight_decay": hpo.Float(1e-4, 1e-1, log=True)},
        metric="eval_loss",
        unit="epochs",
        optimizer="pbt",
        population_size=5,
        budget=2,
    )
    print(result.best)
    print(result.frame()[["member", "interval", "lr", "eval_loss", "eval_error"]])
