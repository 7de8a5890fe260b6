"""Hypervisor drivers: params, commands, parse, driver."""
