"""Population based training of PPO (Stable-Baselines3) that swings up a pendulum."""

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import hpo
from hpo.tasks.stable_baselines3 import StableBaselines3Loop


class Training(StableBaselines3Loop):
    episodes = 4

    def environment(self):
        return make_vec_env("Pendulum-v1", n_envs=4)

    def algorithm(self, environment, hparams):
        lr = hparams["lr"]
        return PPO(
            "MlpPolicy",
            environment,
            learning_rate=lambda remaining: lr * remaining,  # falls to 0 over the whole budget
            n_steps=32,
            batch_size=64,
            n_epochs=4,
            gamma=0.95,
            clip_range=hparams["clip_range"],
            ent_coef=hparams["ent_coef"],
            policy_kwargs={"net_arch": [16]},
        )


if __name__ == "__main__":
    result = hpo.tune(
        Training,
        {
            "lr": hpo.Float(1e-4, 1e-2, log=True),
            "clip_range": hpo.Float(0.1, 0.4),
            "ent_coef": hpo.Float(1e-4, 1e-1, log=True),
        },
        metric="return",
        direction="maximize",
        optimizer="pbt",
        population_size=5,
        budget=768,
        interval=256,
    )
    print(result.best)
    print(result.frame()[["member", "interval", "lr", "clip_range", "return"]])
