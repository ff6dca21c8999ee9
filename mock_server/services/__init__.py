"""The services of each stack: thin routers over state and core."""
