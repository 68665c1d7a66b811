"""Values, rules and errors that every room shares. No I/O, no clock, no framework."""
