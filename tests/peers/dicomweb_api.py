"""Goes through everything that dicomweb-client offers, and sees that nothing is left out: a method, or an argument of one, that is not
used here ends it with an error.

usage: dicomweb_api.py BASE_URL FRAMES SERIES...

FRAMES is a file of several JPEG frames, SERIES are files of one native series. Prints one line of JSON: what was used.
"""

import inspect
import io
import json
import sys
import time
from urllib.parse import urljoin

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom.encaps import generate_frames

VISIBLE_WITHIN_SECONDS = 5
LITTLE, JPEG_BASELINE, JPEG_LS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80"
# What every resource may be asked with (PS3.18 8.3.3.2).
PLAIN = {"charset": "utf-8"}


class Watched:
    """A client, and what was used of it."""

    def __init__(self, client):
        self.client = client
        self.used = {}

    def __getattr__(self, name):
        method = getattr(self.client, name)
        if not inspect.isroutine(method):
            return method

        def watched(*positional, **named):
            bound = inspect.signature(method).bind(*positional, **named)
            self.used.setdefault(name, set()).update(bound.arguments)
            return method(*positional, **named)

        return watched

    def not_used(self):
        for name, method in inspect.getmembers(DICOMwebClient, inspect.isroutine):
            if name.startswith("_"):
                continue
            arguments = set(inspect.signature(method).parameters) - {"self"}
            if name not in self.used:
                yield name
            yield from (f"{name}({argument})" for argument in sorted(arguments - self.used.get(name, set())))


def uids(dataset):
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def same(first, second):
    """The same instances, in whatever order; their file heads may differ."""
    by_uid = lambda datasets: sorted(datasets, key=lambda dataset: dataset.SOPInstanceUID)  # noqa: E731
    return list(map(uids, by_uid(first))) == list(map(uids, by_uid(second))) and all(
        one == other for one, other in zip(by_uid(first), by_uid(second), strict=True))


def stores(client, frames, series):
    answer = client.store_instances(series, study_instance_uid=series[0].StudyInstanceUID, additional_params=PLAIN)
    assert len(answer.ReferencedSOPSequence) == len(series) and "FailedSOPSequence" not in answer, answer
    # In small pieces, as it does with what is large.
    client.set_chunk_size(64 * 1024)
    client.set_http_retry_params(retry=True, max_attempts=3, wait_exponential_multiplier=10,
                                 retriable_error_codes=(requests.codes.service_unavailable,))
    answer = client.store_instances(datasets=[frames])
    assert "FailedSOPSequence" not in answer, answer
    # An instance of another study than is said is not taken.
    refused = False
    try:
        refused = "FailedSOPSequence" in client.store_instances([frames], study_instance_uid="2.25.1")
    except requests.HTTPError as error:
        refused = error.response.status_code == 409
    assert refused


def visible(search):
    deadline = time.monotonic() + VISIBLE_WITHIN_SECONDS
    while not search():
        assert time.monotonic() < deadline, "what was stored did not become visible"
        time.sleep(0.02)


def searches(client, frames, series):
    study, own_series, instance = uids(series[0])
    visible(lambda: len(client.search_for_instances(study)) == len(series))
    visible(lambda: client.search_for_studies(search_filters={"StudyInstanceUID": frames.StudyInstanceUID}))
    name = str(series[0].PatientName).split("^")[0][:3].lower()
    asked = dict(fuzzymatching=True, limit=50, offset=0, fields=["StudyDescription", "00080060"],
                 search_filters={"PatientName": name, "StudyInstanceUID": study}, get_remaining=False,
                 additional_params={"ModalitiesInStudy": series[0].Modality})
    (found,) = client.search_for_studies(**asked)
    assert found["0020000D"]["Value"] == [study] and found["00201208"]["Value"] == [len(series)], found
    (found,) = client.search_for_series(study_instance_uid=study, **asked)
    assert found["0020000E"]["Value"] == [own_series], found
    found = client.search_for_instances(study_instance_uid=study, series_instance_uid=own_series, **asked)
    assert len(found) == len(series), found
    # A page at a time until nothing is left.
    for search in [client.search_for_studies, client.search_for_series, client.search_for_instances]:
        assert search(limit=1, get_remaining=True) == search(), search
    assert client.search_for_series(search_filters={"SOPInstanceUID": instance})
    assert client.search_for_studies(search_filters={client.lookup_tag("PatientID"): "nobody"}) == []
    assert client.lookup_keyword("00080018") == "SOPInstanceUID"


def retrieves_instances(client, frames, series):
    study, own_series, instance = uids(series[0])
    dicom = ("application/dicom",)
    asked = dict(media_types=dicom, additional_params=PLAIN)
    for found in [
        client.retrieve_study(study, **asked), client.iter_study(study, **asked),
        client.retrieve_series(study, own_series, **asked), client.iter_series(study, own_series, **asked),
    ]:
        assert same(list(found), series)
    assert client.retrieve_instance(study, own_series, instance, **asked) == series[0]
    stored = client.retrieve_instance(*uids(frames), media_types=(("application/dicom", "*"),))
    assert stored == frames and stored.file_meta.TransferSyntaxUID == JPEG_BASELINE
    # Without a word it is explicit VR little endian, decoded.
    (native,) = client.retrieve_study(frames.StudyInstanceUID)
    assert native.file_meta.TransferSyntaxUID == LITTLE and native.pixel_array.shape == frames.pixel_array.shape
    (coded,) = client.iter_series(*uids(frames)[:2], media_types=(("application/dicom", JPEG_LS),))
    assert coded.file_meta.TransferSyntaxUID == JPEG_LS and (coded.pixel_array == native.pixel_array).all()


def retrieves_metadata(client, series):
    study, own_series, instance = uids(series[0])
    for found in [
        client.retrieve_study_metadata(study, additional_params=PLAIN),
        client.retrieve_series_metadata(study, own_series, additional_params=PLAIN),
    ]:
        read = [pydicom.Dataset.from_json(one, bulk_data_uri_handler=lambda *_: b"") for one in found]
        assert sorted(map(uids, read)) == sorted(map(uids, series))
    found = client.retrieve_instance_metadata(study, own_series, instance, additional_params=PLAIN)
    assert found["00080018"]["Value"] == [instance]
    return found


def retrieves_bulk_data(client, base, metadata, frames, first):
    url = urljoin(base, metadata["7FE00010"]["BulkDataURI"])
    octets = ("application/octet-stream",)
    asked = dict(media_types=octets, byte_range=(0, 1023), additional_params=PLAIN)
    for found in [client.retrieve_bulkdata(url), client.retrieve_bulkdata(url, media_types=octets)]:
        assert found == [first.PixelData], [len(one) for one in found]
    # A part of a value may be answered by the whole of it (RFC 9110 14.2).
    for found in [client.retrieve_bulkdata(url, **asked), list(client.iter_bulkdata(url, **asked))]:
        assert found in ([first.PixelData], [first.PixelData[:1024]]), [len(one) for one in found]
    metadata = client.retrieve_instance_metadata(*uids(frames))
    url = urljoin(base, metadata["7FE00010"]["BulkDataURI"])
    stored = list(generate_frames(frames.PixelData, number_of_frames=frames.NumberOfFrames))
    assert list(client.iter_bulkdata(url)) == stored
    assert client.retrieve_bulkdata(url, media_types=(("image/jpeg", JPEG_BASELINE),)) == stored


def retrieves_frames(client, frames, first):
    stored = list(generate_frames(frames.PixelData, number_of_frames=frames.NumberOfFrames))
    numbers = [3, 1]
    wanted = [stored[number - 1] for number in numbers]
    jpeg = dict(media_types=(("image/jpeg", JPEG_BASELINE),), additional_params=PLAIN)
    for found in [
        client.retrieve_instance_frames(*uids(frames), numbers), client.iter_instance_frames(*uids(frames), numbers),
        client.retrieve_instance_frames(*uids(frames), numbers, **jpeg), client.iter_instance_frames(*uids(frames), numbers, **jpeg),
    ]:
        assert list(found) == wanted
    native = client.retrieve_instance_frames(*uids(frames), numbers, media_types=(("application/octet-stream", LITTLE),))
    assert [len(frame) for frame in native] == 2 * [frames.Rows * frames.Columns * frames.SamplesPerPixel]
    several = (("image/jls", JPEG_LS), ("application/octet-stream", LITTLE))
    assert client.retrieve_instance_frames(*uids(first), [1], media_types=several) == [first.PixelData]


def retrieves_pictures(client, frames, series):
    study, own_series, instance = uids(series[0])
    params = {"viewport": "200,100", "window": "40,400,linear"}
    png, jpeg = ("image/png",), ("image/jpeg",)
    pictures = [
        client.retrieve_series_rendered(study, own_series), client.retrieve_series_rendered(study, own_series, media_types=png, params=params),
        client.retrieve_instance_rendered(study, own_series, instance), client.retrieve_instance_rendered(study, own_series, instance, media_types=png, params=params),
        client.retrieve_instance_frames_rendered(*uids(frames), [2]),
        client.retrieve_instance_frames_rendered(*uids(frames), [2], media_types=jpeg, params={"quality": 50}),
    ]
    pictures = [Image.open(io.BytesIO(picture)) for picture in pictures]
    assert [picture.format for picture in pictures] == ["JPEG", "PNG", "JPEG", "PNG", "JPEG", "JPEG"]
    assert all(picture.height <= 100 and picture.width <= 200 for picture in pictures[1:4:2])
    assert pictures[4].size == pictures[5].size == (frames.Columns, frames.Rows)


def deletes_nothing(client, first):
    """Deleting takes two steps and a person here: over DICOMweb it is refused, and nothing is gone."""
    study, own_series, instance = uids(first)
    for delete, named in [
        (client.delete_study, (study,)), (client.delete_series, (study, own_series)), (client.delete_instance, (study, own_series, instance)),
    ]:
        try:
            delete(*named, additional_params=PLAIN)
            raise AssertionError("it was deleted")
        except requests.HTTPError as error:
            assert error.response.status_code == 405, error
            assert "GET" in error.response.headers["allow"], error.response.headers
    assert client.retrieve_instance(study, own_series, instance) == first


def main():
    base, frames, *series = sys.argv[1:]
    client = Watched(DICOMwebClient(base))
    frames, series = pydicom.dcmread(frames), [pydicom.dcmread(path) for path in series]
    stores(client, frames, series)
    searches(client, frames, series)
    retrieves_instances(client, frames, series)
    metadata = retrieves_metadata(client, series)
    retrieves_bulk_data(client, base + "/", metadata, frames, series[0])
    retrieves_frames(client, frames, series[0])
    retrieves_pictures(client, frames, series)
    deletes_nothing(client, series[0])
    if missing := list(client.not_used()):
        sys.exit(f"not used: {', '.join(missing)}")
    print(json.dumps({name: sorted(arguments) for name, arguments in client.used.items()}))


if __name__ == "__main__":
    main()
