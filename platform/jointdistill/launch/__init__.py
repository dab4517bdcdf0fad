"""The rooms that know Ray: prepare, train, label, sweep, evaluate."""
