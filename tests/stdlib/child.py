"""Runs one module of CPython's own asyncio suite in one way: child.py SUBJECT WAY MODULE RECORD LIMIT

RECORD is a file of JSON lines, to which a line is added when a test begins and another when it is over. Tests that
are in it already are left out, so that the module's rest can be run behind a test that took the process with it.
The last line says that the run is complete. A test that hangs is ended, with the process, after LIMIT seconds.
"""

import faulthandler
import importlib
import json
import sys
import unittest

import inapplicable
import ways


class Recorder(unittest.TestResult):
    """Writes what happens to the record as it happens."""

    def __init__(self, record, uses, limit):
        super().__init__()
        self._record = record
        self._uses = uses
        self._limit = limit
        self._open = None

    def write(self, **line):
        self._record.write(json.dumps(line) + "\n")
        self._record.flush()

    def startTest(self, test):
        super().startTest(test)
        self._uses.start()
        self._open = {"outcome": "passed", "text": ""}
        self.write(begun=short_name(test))
        faulthandler.dump_traceback_later(self._limit, exit=True)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        # 3.12.1 ends tests of skipped classes that it has not begun.
        if self._open is not None:
            self.write(over=short_name(test), counts=self._uses.count(test), **self._open)
            self._open = None
        super().stopTest(test)

    def _note(self, test, outcome, text):
        if self._open is None:
            # The set-up or the end of a class or of the module; and what 3.12.1 skips unbegun.
            name = short_name(test) if isinstance(test, unittest.TestCase) else test.id()
            self.write(over=name, counts=False, outcome=outcome, text=text)
        elif self._open["outcome"] != "failed":
            self._open = {"outcome": outcome, "text": text}
        elif outcome == "failed":
            self._open["text"] += text

    def addError(self, test, err):
        self._note(test, "failed", self._exc_info_to_string(err, test))

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._note(test, "failed", f"{subtest}\n{self._exc_info_to_string(err, test)}")

    def addSkip(self, test, reason):
        self._note(test, "skipped", reason)

    def addUnexpectedSuccess(self, test):
        self._note(test, "failed", "it passes, which the suite does not expect\n")


def short_name(test):
    """Return "module.Class.test"."""
    return ".".join(test.id().split(".")[-3:])


def tests_of(suite):
    """Yield the single tests of a suite, in order."""
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from tests_of(part)
        else:
            yield part


def main(subject_name, way, module_name, path, limit):
    with open(path) as record:
        known = {line.get("begun") for line in map(json.loads, record)}
    with open(path, "a") as record:
        subject = ways.subject_named(subject_name)
        uses = ways.put(way, subject)
        faulthandler.enable()
        result = Recorder(record, uses, float(limit))
        try:
            module = importlib.import_module(module_name)
        except unittest.SkipTest as skip:
            result.write(over=module_name, counts=False, outcome="skipped", text=str(skip))
        else:
            ways.adapt(way, subject, module)
            found = tests_of(unittest.defaultTestLoader.loadTestsFromModule(module))
            wanted = [
                test
                for test in found
                if short_name(test) not in known and inapplicable.reason_against(short_name(test)) is None
            ]
            unittest.TestSuite(wanted).run(result)
        result.write(complete=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
