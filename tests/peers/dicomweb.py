"""Stores a file by dicomweb-client, finds it again and fetches it.

usage: dicomweb.py BASE_URL FILE

Prints one JSON line with what was found at each level; ends with an error when anything is amiss.
"""

import json
import sys
import time
from io import BytesIO

import pydicom
from dicomweb_client.api import DICOMwebClient

VISIBLE_WITHIN_SECONDS = 5


def visible(search):
    deadline = time.monotonic() + VISIBLE_WITHIN_SECONDS
    while not (found := search()):
        if time.monotonic() > deadline:
            sys.exit("the stored instance did not become visible")
        time.sleep(0.02)
    return found


def main():
    client = DICOMwebClient(sys.argv[1])
    dataset = pydicom.dcmread(sys.argv[2])
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    answer = client.store_instances([dataset])
    assert "FailedSOPSequence" not in answer, answer

    studies = visible(lambda: client.search_for_studies(search_filters={"StudyInstanceUID": study}))
    by_patient = client.search_for_studies(search_filters={"PatientID": dataset.PatientID})
    all_series = client.search_for_series(study)
    instances = client.search_for_instances(study, series)
    fetched = client.retrieve_instance(study, series, instance)
    metadata = client.retrieve_instance_metadata(study, series, instance)
    buffer = BytesIO()
    fetched.save_as(buffer)
    print(json.dumps({
        "studies": len(studies),
        "by_patient": len(by_patient),
        "series": len(all_series),
        "instances": [found["00080018"]["Value"][0] for found in instances],
        "same_dataset": fetched == dataset,
        "metadata_rows": metadata["00280010"]["Value"][0],
        "patient_name": studies[0]["00100010"]["Value"][0]["Alphabetic"],
    }))


if __name__ == "__main__":
    main()
