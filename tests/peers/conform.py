"""Asks a gateway what its OpenAPI document describes, with made-up values, and holds every answer against the document.

usage: conform.py URL TOKEN EXAMPLES SEED STUDY SERIES INSTANCE

URL is the document's. The three UIDs are of an instance that is there. Ends with an error, and how to ask the same again, when an
answer is a failure of the server, of a status or media type that is not described, or of a method that is none.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
]

# Instances in parts are more than is made up here; the site key is changed once at a time.
LEFT_OUT = "^POST /(dicomweb/studies|api/keys/rotation)"

CONFIGURATION = """
[parameters]
"path.study" = "{}"
"path.series" = "{}"
"path.instance" = "{}"
"""


def main(url, token, examples, seed, *uids):
    program = Path(sys.executable).with_name("schemathesis")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "schemathesis.toml").write_text(CONFIGURATION.format(*uids))
        command = [program, "run", url, "--header", f"Authorization: Bearer {token}"]
        command += ["--max-examples", examples, "--seed", seed]
        command += ["--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS), "--continue-on-failure"]
        command += ["--exclude-name-regex", LEFT_OUT, "--warnings", "off", "--no-color"]
        sys.exit(subprocess.run(command, cwd=folder, check=False).returncode)


main(*sys.argv[1:])
