"""Storage drivers: params, commands, parse, driver."""
