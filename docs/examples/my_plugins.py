"""Everything that `halving.toml` needs: importing a module registers what is in it."""

import my_optimizers  # noqa: F401
import my_selection  # noqa: F401
import my_tasks  # noqa: F401
