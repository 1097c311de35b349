"""A storage SCP that accepts everything and keeps each dataset as it crossed the wire.

usage: recorder.py FOLDER

Prints one JSON line with its port when it listens; writes each dataset to FOLDER/<SOP Instance UID>.
"""

import json
import sys
import threading
from pathlib import Path

from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

SYNTAXES = [
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1",
    *(f"1.2.840.10008.1.2.4.{number}" for number in (
        50, 51, 57, 70, 80, 81, 90, 91, 92, 93, 100, 101, 102, 103, 104, 105, 106, 107, 108, 110, 111, 112,
        201, 202, 203)),
]


def main():
    folder = Path(sys.argv[1])

    def keep(event):
        data = event.encoded_dataset(include_meta=False)
        (folder / str(event.request.AffectedSOPInstanceUID)).write_bytes(data)
        return 0x0000

    ae = AE(ae_title="RECORDER")
    ae.maximum_associations = 32
    ae.add_supported_context(Verification)
    syntaxes = [UID(syntax) for syntax in SYNTAXES]
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, syntaxes)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    print(json.dumps({"port": server.socket.getsockname()[1]}), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
