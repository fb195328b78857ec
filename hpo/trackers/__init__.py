"""Writes studies into the tools that people have: TensorBoard, MLflow, Weights & Biases, and others by entry point."""
