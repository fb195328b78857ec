"""What can be trained: the base classes for PyTorch tasks (`torch`), and the built-in tasks.

| module | tasks | what |
|---|---|---|
| `images` | `mnist`, `fashion_mnist`, `cifar10` | images; those of MNIST come with the package |
| `digits` | `digits` | 8 × 8 digits, which come with scikit-learn: small and quick |
| `mnist1d`, `mnist1d_data` | `mnist1d` | signals of 40 numbers, made by code: a conv net and many hyperparameters |
| `cartpole` | `cartpole` | reinforcement learning |
| `toy` | `toy` | the quadratic of Jaderberg et al. 2017, Figure 2 |
| `landscapes` | `schedule_wins`, `greed_loses`, `all_tie` | learning dynamics with known answers |
| `coin` | `coin` | nothing to learn: a check of the pipeline |
"""
