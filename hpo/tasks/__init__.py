"""What can be trained: the base classes for PyTorch tasks (`torch`), and the tasks `mnist` and `toy`."""
