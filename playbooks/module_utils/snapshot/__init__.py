"""The recorded environment of a host. Standard library only: it also runs on remote hosts as an Ansible module."""
