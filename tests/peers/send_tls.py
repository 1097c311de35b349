"""Verifies over TLS, then stores the files named, as pynetdicom does it. Prints one line of JSON per operation.

send_tls.py HOST PORT CALLED_AE CA CERTIFICATE KEY [FILE ...]
"""

import json
import ssl
import sys

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import Verification


def main() -> int:
    host, port, called, authority, certificate, key, *files = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    entity = AE(ae_title="PYNETDICOM")
    entity.add_requested_context(Verification)
    datasets = [dcmread(path) for path in files]
    for dataset in datasets:
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate(host, int(port), ae_title=called, tls_args=(context, "localhost"))
    if not association.is_established:
        return 1
    version = association.dul.socket.socket.version()
    statuses = [association.send_c_echo()] + [association.send_c_store(dataset) for dataset in datasets]
    association.release()
    for status in statuses:
        print(json.dumps({"status": status.Status if status else None, "version": version}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
