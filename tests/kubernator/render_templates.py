"""Renders ConfigMaps with Kubernator's own template engine.

Reads a JSON list of cases, each with a template and its variables, from the standard input. Prints a JSON list with the
value of `data.out` of each, or null for a template that Kubernator refuses.
"""

import json
import logging
import sys

import yaml
from kubernator.api import TemplateEngine


def rendered(case):
    engine = TemplateEngine(logging.getLogger("templates"))
    try:
        text = engine.from_string(case["template"]).render(case["variables"])
        # Kubernator refuses a named template that prints an undefined variable.
        return None if engine.failures() else yaml.safe_load(text)["data"]["out"]
    except Exception:
        return None


logging.disable(logging.CRITICAL)
json.dump([rendered(case) for case in json.load(sys.stdin)], sys.stdout)
