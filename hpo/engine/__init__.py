"""What runs a study and writes down what came of it."""
