"""Sends files with pynetdicom, each dataset as it stands in its file.

usage: send_chunked.py HOST PORT CALLED_AE LIST    (LIST: one path a line)

Prints one JSON line per file: path, status, error (why it was not sent).
"""

import json
import sys
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, _config, build_context

_config.STORE_SEND_CHUNKED_DATASET = True
CONTEXTS_MAX = 128


def contexts_of(paths):
    pairs = {}
    for path in paths:
        try:
            meta = read_file_meta_info(path)
            syntax = meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
            pairs[(str(meta.MediaStorageSOPClassUID), str(syntax))] = None
        except Exception:
            continue  # sending it gives the reason
    return [build_context(sop_class, syntax) for sop_class, syntax in pairs]


def associate(host, port, called, contexts):
    ae = AE(ae_title="PYNETDICOM")
    association = ae.associate(host, port, contexts=contexts, ae_title=called)
    if not association.is_established:
        sys.exit("the association was refused")
    return association


def main():
    host, port, called, listing = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    paths = [line for line in Path(listing).read_text().splitlines() if line]
    contexts = contexts_of(paths)
    if len(contexts) > CONTEXTS_MAX:
        sys.exit(f"{len(contexts)} presentation contexts do not fit one association")
    association = associate(host, port, called, contexts)
    for path in paths:
        status, error = None, None
        if not association.is_established:
            association = associate(host, port, called, contexts)
        try:
            response = association.send_c_store(path)
            status = f"0x{response.Status:04X}" if "Status" in response else None
        except Exception as reason:
            error = f"{type(reason).__name__}: {reason}"
        print(json.dumps({"path": path, "status": status, "error": error}), flush=True)
    association.release()


if __name__ == "__main__":
    main()
