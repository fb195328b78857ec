"""Image classification: tasks `mnist`, `fashion_mnist` and `cifar10`, small conv nets trained by SGD with momentum.

`ImageTask` (`task`) is what they share: options, search space and learning rate schedule. A task adds its `Source` (`data`),
the files that its images come from. MNIST's files come with the package; torchvision downloads those of the others.
"""
