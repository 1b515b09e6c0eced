"""Who takes part in the benchmarks of selections and of query passes, on what, and how one turn is measured."""
