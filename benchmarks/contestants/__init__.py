"""Who takes part in the benchmark of selections, on what, and how one turn is measured."""
