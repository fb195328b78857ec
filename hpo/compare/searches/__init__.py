"""Searches of other tools: studies in an Optuna storage, and result folders of Ray Tune. One search is one arm, task and seed."""
