"""Pure parts of the mock: values in, values out; no clock, no socket, no framework."""
