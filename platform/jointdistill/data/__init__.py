"""From shards on a store to augmented batches on a device."""
