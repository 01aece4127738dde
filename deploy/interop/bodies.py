#!/usr/bin/env python3
"""Validates what the server wrote in the tests against the schemas of its specifications.

usage: bodies.py FOLDER

FOLDER holds messages, one to a file: the tests write them with LAMPLIGHT_BODIES=FOLDER (node/tests/serve/bodies.rs).
The schemas and their validator are not part of this repository: they are looked for in ../shared beside it, or
where LAMPLIGHT_SHARED says, and without them nothing is checked. deviations.txt lists what the specifications
themselves have wrong.
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.environ.get("LAMPLIGHT_SHARED") or os.path.join(HERE, "..", "..", "..", "shared")
VALIDATOR = os.path.join(SHARED, "spec", "validate.py")
# PIDF as Microsoft's servers print it declares the namespace of a draft that nobody else speaks.
DIALECT = b"urn:ietf:params:xml:ns:pidf:status:rpid-status"
# BluStar's own examples have identifiers with blanks and colons, and a device without its deviceID: the validator's
# profile for its dialect knows them.
BLUSTAR = b"http://www.aastra.com/presence/blustar/2011"
# A registration's end is told in words (MS-SIPREGE 3.2), which no schema describes.
WORDS = b"Content-Type: text/registration-event"


def deviations():
    """The patterns of deviations.txt; each with its reason behind a tab."""
    patterns = []
    with open(os.path.join(HERE, "deviations.txt"), encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            pattern, _, reason = line.partition("\t")
            if not reason.strip():
                sys.exit("deviations.txt line %d gives no reason" % number)
            patterns.append(re.compile(pattern))
    return patterns


def check(profile, files, patterns):
    """Runs the validator; returns how many deviations were expected, and the lines of those that were not."""
    if not files:
        return 0, []
    command = [sys.executable, VALIDATOR, "--quiet", "--profile", profile] + files
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode > 1:
        sys.exit("the validator failed:\n" + ran.stdout + ran.stderr)
    expected, wrong, head = 0, [], None
    for line in ran.stdout.splitlines():
        if not line.startswith(" "):
            head = line
        elif line.strip().startswith("hint:"):
            continue
        elif any(pattern.search(line) for pattern in patterns):
            expected += 1
        else:
            wrong += [head, line]
    if ran.returncode == 1 and not expected and not wrong:
        wrong = [ran.stdout]
    return expected, wrong


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = sys.argv[1]
    files = sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".sip"))
    if not files:
        sys.exit("no message in %s: the tests wrote nothing" % folder)
    if not os.path.isfile(VALIDATOR):
        print("skipped: no validator at %s; LAMPLIGHT_SHARED names another place" % VALIDATOR)
        return
    by_profile = {"auto": [], "ms": [], "lenient": []}
    for name in files:
        with open(name, "rb") as message:
            message = message.read()
        if WORDS not in message:
            profile = "ms" if DIALECT in message else "lenient" if BLUSTAR in message else "auto"
            by_profile[profile].append(name)
    patterns = deviations()
    results = [check(profile, names, patterns) for profile, names in by_profile.items()]
    wrong = [line for _, lines in results for line in lines]
    for line in wrong:
        print(line)
    if wrong:
        sys.exit("the server wrote what no schema allows; the messages are in %s" % folder)
    known = sum(count for count, _ in results)
    counts = tuple(len(by_profile[profile]) for profile in ("auto", "ms", "lenient"))
    print("valid: %d messages, %d in Microsoft's PIDF, %d in BluStar's; %d known deviations" % (*counts, known))


main()
