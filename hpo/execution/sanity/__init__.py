"""Tries a new study before it starts, to report now what would otherwise fail late or go wrong in silence.

| module | what it checks or does |
|---|---|
| `check` | all checks, in order |
| `members` | trains a member as the engine does, on few batches (`first_and_last`) |
| `saved_state` | a restored state trains as the one in memory does; nothing outside it changes (`shared_state`) |
| `copies` | a member can go on from another one's state with its own hyperparameters |
| `unread` | every hyperparameter is read, and makes a difference |
| `configurations` | few configurations that use every choice of a search space |
| `failures` | exceptions of a task as errors of the user's input |
"""

from hpo.execution.sanity.check import sanity_check

__all__ = ["sanity_check"]
