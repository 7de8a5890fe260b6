"""The engine: requests, scheduler, locks, processor, journal. Knows no operation by name."""
