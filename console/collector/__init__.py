"""The collector: ticks, leases, operations."""
