"""Validates the OpenAPI document of a gateway.

usage: openapi.py URL

Prints one JSON line with the version of OpenAPI and the number of operations; ends with an error when the document is none.
"""

import json
import sys

import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def main(url):
    answer = requests.get(url, timeout=60)
    answer.raise_for_status()
    document = answer.json()
    errors = OpenAPIV31SpecValidator(document).iter_errors()
    if told := [f"{list(error.absolute_path)}: {error.message}" for error in errors]:
        sys.exit("\n".join(told))
    operations = [method for item in document["paths"].values() for method in item if method in METHODS]
    print(json.dumps({"openapi": document["openapi"], "operations": len(operations)}))


main(*sys.argv[1:])
