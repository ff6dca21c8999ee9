"""The Consoul service: chat over HTTP, and its probes."""
