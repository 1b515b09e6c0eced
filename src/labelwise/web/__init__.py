"""The page: explore the images of a run, annotate what it asks, follow its rounds; served on this machine, offline."""
