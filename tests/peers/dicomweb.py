"""Stores a file by dicomweb-client, finds it again in every way and fetches it.

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


def ways_to_find(dataset):
    """Filters that find the study, and whether names are matched fuzzily."""
    name = str(dataset.PatientName)
    latin, _, ideographic = name.partition("=")
    surname, _, given = latin.partition("^")
    yield {"PatientName": name}, False
    yield {"PatientName": f"*{latin[1:5].lower()}*"}, False
    yield {"00100010": f"{surname.upper()}^*"}, False
    yield {"PatientName": f"{given.lower()} {surname[:3].lower()}"}, True
    if ideographic:
        character = ideographic.partition("^")[2][:1]
        yield {"PatientName": f"*{character}*"}, False
        yield {"PatientName": ideographic.replace("^", "")}, True
    yield {"PatientID": f"*{dataset.PatientID[1:]}*", "StudyInstanceUID": dataset.StudyInstanceUID}, False
    yield {"ModalitiesInStudy": f"XX,{dataset.Modality}"}, False
    if dataset.get("StudyDate"):
        yield {"StudyDate": f"{dataset.StudyDate}-{dataset.StudyDate}"}, False
    yield {"SOPInstanceUID": f"1.2.3,{dataset.SOPInstanceUID}"}, False


def search_every_way(client, dataset):
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    ways = 0
    for filters, fuzzy in ways_to_find(dataset):
        for search, uid, tag in [
            (client.search_for_studies, study, "0020000D"),
            (client.search_for_series, series, "0020000E"),
            (client.search_for_instances, instance, "00080018"),
        ]:
            found = search(search_filters=filters, fuzzymatching=fuzzy, limit=50)
            assert uid in [one[tag]["Value"][0] for one in found], (search.__name__, filters)
            ways += 1
    assert client.search_for_studies(search_filters={"PatientName": "nobody*"}) == []
    return ways


def search_in_pages(client):
    everything = client.search_for_instances()
    paged, offset = [], 0
    while page := client.search_for_instances(limit=1, offset=offset):
        assert len(page) == 1
        paged += page
        offset += 1
    assert paged == everything
    return len(paged)


def search_with_fields(client, dataset):
    study, series = dataset.StudyInstanceUID, dataset.SeriesInstanceUID
    fields = ["StudyDescription", "00100030", "SamplesPerPixel", "PhotometricInterpretation"]
    (found,) = client.search_for_instances(study, series, fields=fields, search_filters={
        "SOPInstanceUID": dataset.SOPInstanceUID,
    })
    assert found["00280002"]["Value"] == [dataset.SamplesPerPixel], found
    return found["00280004"]["Value"][0]


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
        "ways": search_every_way(client, dataset),
        "in_pages": search_in_pages(client),
        "photometric": search_with_fields(client, dataset),
    }))


if __name__ == "__main__":
    main()
