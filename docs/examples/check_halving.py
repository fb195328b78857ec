"""Holds the optimizer of my_optimizers.py to its contract: a few seconds."""

from my_optimizers import Halving

import hpo.testing

if __name__ == "__main__":
    hpo.testing.check_optimizer(Halving(eta=2))
    hpo.testing.check_optimizer(Halving(eta=3))
    hpo.testing.check_workers({"halving": Halving()})
    print("halving holds to its contract")
