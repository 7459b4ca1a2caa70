"""How shards are spread over tasks, processes or machines."""
