"""Demo: scenarios on a real database and simulated providers, from a plain refund to a kill -9."""
