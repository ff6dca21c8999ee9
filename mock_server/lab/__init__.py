"""The lab: everything `make up` starts on this machine, and how it is stopped again.

Starts other parts as processes only: of the mock's code it imports nothing.
"""
