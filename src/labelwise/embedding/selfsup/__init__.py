"""Self-supervised training of a backbone on a folder's own images, with the losses, heads and views of lightly."""
