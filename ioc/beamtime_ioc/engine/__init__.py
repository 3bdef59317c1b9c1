"""From an order to its outcome: inline for tests, durable for the beamline."""
