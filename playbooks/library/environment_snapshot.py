#!/usr/bin/python
"""Ansible module: the environment of a host as facts of a run. Wraps the collector and computes nothing itself."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.snapshot.collect import collect
from ansible.module_utils.snapshot.host import live_host

DOCUMENTATION = r"""
---
module: environment_snapshot
short_description: Record the environment of a host
version_added: "0.1.0"
description:
  - Reads operating system, kernel, processor, limits, network, software and current activity of a host.
  - Every field has a class, C(identity), C(host), C(subject) or C(volatile). What a host lacks is null with a reason.
  - Changes nothing, needs no privilege, and records neither secrets nor serial numbers.
options:
  root:
    description: Folder under which the host's own files are read.
    type: path
    default: /
  repository:
    description: Git checkout on the host whose commit and difference are recorded.
    type: path
attributes:
  check_mode:
    description: Reads only, so check mode does the same.
    support: full
author:
  - The authors of consoul-load-lab
"""

EXAMPLES = r"""
- name: Record the environment
  environment_snapshot:
  register: environment

- name: Record it together with the state of a checkout
  environment_snapshot:
    repository: /opt/consoul-load-lab
  register: environment
"""

RETURN = r"""
snapshot:
  description: The environment, as one schema-versioned mapping.
  returned: always
  type: dict
  sample:
    schema: 1
    taken_at: "2026-01-01T00:00:00Z"
    took_s: 0.12
    fields:
      cpu.logical_cpus: {value: 2, class: identity}
      cpu.boost: {value: null, class: identity, reason: "/sys/devices/system/cpu/cpufreq/boost does not exist"}
"""


def main() -> None:
    """Collects and hands the snapshot back; `changed` is always false."""
    module = AnsibleModule(
        argument_spec={"root": {"type": "path", "default": "/"}, "repository": {"type": "path"}},
        supports_check_mode=True,
    )
    root, repository = module.params["root"], module.params["repository"]
    if not Path(root).is_dir():
        module.fail_json(
            msg=f"root: {root} is not a folder on this host; give the folder that holds its proc and sys"
        )
    module.exit_json(changed=False, snapshot=collect(live_host(root, Path(repository) if repository else None)))


if __name__ == "__main__":
    main()
