"""What is kept on disk until it is done: the store, its worker, and the readers of `/changes`."""
