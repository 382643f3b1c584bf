"""Compares what arrived with what a program has set, and names the fields that differ.

Both become a flat table from a path to a value, such as `traces.root.events[0].name`, with resource and scope under
every record. `expected.json` says in this form what a program sets, and what each SDK does not send or sends otherwise.
"""

import json

LISTS = {"traces": ("resourceSpans", "scopeSpans", "spans", "name"),
         "metrics": ("resourceMetrics", "scopeMetrics", "metrics", "name"),
         "logs": ("resourceLogs", "scopeLogs", "logRecords", "timeUnixNano")}
NOW = "$now"


def is_keyed(content):
    return bool(content) and all(isinstance(entry, dict) and "key" in entry for entry in content)


def order(point):
    return json.dumps(point.get("attributes", []), sort_keys=True, ensure_ascii=False)


def flatten(path, node, table):
    """Puts every leaf of OTLP JSON below `path` into the table, attributes by their key."""
    if isinstance(node, list) and is_keyed(node):
        for entry in node:
            name = f"{path}.{entry['key']}"
            if any(existing == name or existing.startswith(f"{name}.") for existing in table):
                name += " (again)"
            flatten(name, entry.get("value", {}), table)
    elif isinstance(node, list) and node:
        elements = sorted(node, key=order) if path.endswith(".dataPoints") else node
        for index, element in enumerate(elements):
            flatten(f"{path}[{index}]", element, table)
    elif isinstance(node, dict) and node:
        for key, content in node.items():
            flatten(f"{path}.{key}", content, table)
    elif path not in table:
        table[path] = node
    else:
        table[f"{path} (again)"] = node


def record_table(signal, resource_entry, scope_entry, record):
    """The table of one record with its resource and scope."""
    name = record.get(LISTS[signal][3], "")
    table = {}
    flatten(f"{signal}.{name}", record, table)
    context = {"resource": resource_entry.get("resource", {}), "resourceSchema": resource_entry.get("schemaUrl", ""),
               "scope": scope_entry.get("scope", {}), "scopeSchema": scope_entry.get("schemaUrl", "")}
    flatten(f"{signal}.{name}", context, table)
    return table


def cells_of(signal, requests):
    """The table of each cell in what one listener got; its name is a resource attribute."""
    cells = {}
    resources, scopes, records, _ = LISTS[signal]
    for request in requests:
        for resource_entry in request.get(resources, []):
            attributes = resource_entry.get("resource", {}).get("attributes", [])
            cell = next((entry["value"].get("stringValue") for entry in attributes if entry["key"] == "peers.cell"), None)
            table = cells.setdefault(cell, {})
            for scope_entry in resource_entry.get(scopes, []):
                for record in scope_entry.get(records, []):
                    for path, content in record_table(signal, resource_entry, scope_entry, record).items():
                        table[f"{path} (again)" if path in table else path] = content
    return cells


def expand(node, names):
    """Replaces every "@name" by what the file has under that name; behind the key "+" it stands in the object around it."""
    if isinstance(node, str) and node.startswith("@"):
        return expand(names[node[1:]], names)
    if isinstance(node, dict):
        expanded = {key: expand(content, names) for key, content in node.items()}
        merged = expanded.pop("+", {})
        return {**expanded, **merged}
    if isinstance(node, list):
        return [expand(element, names) for element in node]
    return node


class Expectation:
    """What the program of a cell sets, by signal."""

    def __init__(self, file, cell):
        with open(file, encoding="utf-8") as source:
            described = json.load(source)
        names = described["names"]
        self.tables = {}
        for signal in LISTS:
            self.tables[signal] = table = {}
            for name, record in described[signal].items():
                for part in (record, described["every record"]):
                    flatten(f"{signal}.{name}", expand(part, names), table)
        exceptions = described["exceptions"]
        for name in (cell.client, f"{cell.client} {cell.spoken}"):
            for exception in exceptions.get(name, []):
                self.apply(exception)

    def apply(self, exception):
        """Replaces what stands at paths `in` a signal that hold `contains` and end with `ends`, or takes it away; or adds."""
        if "added" in exception:
            self.tables[exception["in"]].update(exception["added"])
            return
        found = False
        for signal in [exception["in"]] if "in" in exception else LISTS:
            table = self.tables[signal]
            for path in list(table):
                if exception.get("contains", "") not in path or not path.endswith(exception.get("ends", "")):
                    continue
                if "instead" not in exception:
                    del table[path]
                    found = True
                elif str(table[path]) in exception["instead"]:
                    table[path] = exception["instead"][str(table[path])]
                    found = True
        assert found, f"no field for the exception {exception}"

    def differences(self, signal, cell, actual, window):
        """Every field that differs, as text, the first one first."""
        expected = {path: cell if content == "$cell" else content for path, content in self.tables[signal].items()}
        return [f"{path}: expected {shown(expected, path)}, got {shown(actual, path)}"
                for path in [*expected, *(path for path in actual if path not in expected)]
                if not is_same(expected.get(path, ()), actual.get(path, ()), window)]


def shown(table, path):
    return json.dumps(table[path], ensure_ascii=False) if path in table else "nothing"


def is_same(expected, actual, window):
    if expected == NOW:
        return isinstance(actual, str) and actual.isdigit() and window[0] <= int(actual) <= window[1]
    return type(expected) is type(actual) and expected == actual
