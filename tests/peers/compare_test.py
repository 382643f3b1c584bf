#!/usr/bin/env python3
"""Proves that the comparison of the peers can fail: each change to what arrived is found, and named."""

import copy
import os
import sys
import unittest

sys.dont_write_bytecode = True

import compare  # noqa: E402
import matrix  # noqa: E402

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.json")
WINDOW = (1, 10)


def unflatten(expectation, signal, cell):
    """What arrives where all is well: the table, and a time within the window for each "$now"."""
    return {path: {"$cell": cell, "$now": "5"}.get(content, content) if isinstance(content, str) else content
            for path, content in expectation.tables[signal].items()}


class Compare(unittest.TestCase):
    def each(self):
        for client in ("python", "go", "javascript"):
            for protocol in matrix.PROTOCOLS:
                cell = matrix.Cell(client, "direct", protocol, "clear", "none")
                expectation = compare.Expectation(FILE, cell)
                for signal in compare.LISTS:
                    yield expectation, signal, unflatten(expectation, signal, cell.name), cell.name

    def test_equal(self):
        """What was set is no difference."""
        for expectation, signal, table, cell in self.each():
            self.assertEqual(expectation.differences(signal, cell, table, WINDOW), [])

    def test_missing(self):
        """Every field that does not arrive is named."""
        for expectation, signal, table, cell in self.each():
            for path in table:
                less = {other: content for other, content in table.items() if other != path}
                found, = expectation.differences(signal, cell, less, WINDOW)
                self.assertTrue(found.startswith(f"{path}: ") and found.endswith("got nothing"), found)

    def test_changed(self):
        """Every field that arrives otherwise is named, a number in place of a text among them."""
        for expectation, signal, table, cell in self.each():
            for path, content in table.items():
                for other in ("x" if content == "" else "", 11, [content]):
                    if content == other and type(content) is type(other):
                        continue
                    found, = expectation.differences(signal, cell, {**table, path: other}, WINDOW)
                    self.assertTrue(found.startswith(f"{path}: "), found)

    def test_added(self):
        """A field that nobody set is named."""
        for expectation, signal, table, cell in self.each():
            found, = expectation.differences(signal, cell, {**table, "other": 1}, WINDOW)
            self.assertEqual(found, "other: expected nothing, got 1")

    def test_out_of_time(self):
        """A time outside of the run is a difference."""
        for instant, differs in (("0", True), ("1", False), ("10", False), ("11", True), (5, True), ((), True)):
            self.assertEqual(not compare.is_same(compare.NOW, instant, WINDOW), differs, instant)

    def test_twice(self):
        """A record, an attribute and a field of a repeated record that arrive twice do not hide each other."""
        attributes = [{"key": "peers.cell", "value": {"stringValue": "c"}}, {"key": "a", "value": {"intValue": "1"}}]
        request = {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [{"name": "s"}]}]}]}
        once = compare.cells_of("traces", [request])["c"]
        twice = compare.cells_of("traces", [request, copy.deepcopy(request)])["c"]
        self.assertEqual([path for path in twice if path not in once], [f"{path} (again)" for path in once])
        attributes.append(attributes[1])
        again = compare.cells_of("traces", [request])["c"]
        self.assertEqual([path for path in again if path not in once], ["traces.s.resource.attributes.a (again).intValue"])


if __name__ == "__main__":
    unittest.main()
