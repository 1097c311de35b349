"""Decodes what was answered and compares it with what was sent, by decoders of other people.

usage: decode.py LIST

LIST holds a line for each answer, of fields separated by tabs: the file that was sent; a file of the same samples that can be
decoded here; the SHA-256 that they are known to have, or nothing; the numbers of the frames answered, with commas between; the form;
and the files that hold the answer, with commas between. Forms are "file", a Part 10 file; "value", the value of Pixel Data; "stream",
what its fragments hold;
"picture,jpeg" or "picture,png", and ",SIDE" behind it where no side is to be longer; or the transfer syntax of frames, a file each.

Prints a line of JSON for each: whether the samples are those known ("equal"), how far they are from those of the reference on average
("mean"), whether the bytes are those that were sent ("as_sent"), columns and rows of a picture ("picture"), and "error" where it is
not what it should be or nothing here decodes it. Samples are as the manifest of the test data has them: of all frames, each in Bits
Allocated bits, little endian, colour by pixel, a byte for a single bit.
"""

import hashlib
import io
import json
import sys
import zlib
from functools import lru_cache

import numpy
import pillow_jxl  # noqa: F401  (Pillow reads JPEG XL by it)
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate, generate_fragments, generate_frames
from pydicom.pixels import get_decoder

LITTLE, RLE, DEFLATED_FRAMES = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"
NATIVE = ("1.2.840.10008.1.2", LITTLE, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
JPEG_XL = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112")


def unpacked_bits(packed, dataset):
    bits = numpy.unpackbits(numpy.frombuffer(packed, numpy.uint8), bitorder="little")
    return bits[: dataset.Rows * dataset.Columns].reshape(dataset.Rows, dataset.Columns)


def run_lengths(frame):
    """The bytes of the one segment of a frame (PS3.5 annex G)."""
    data, out, at = frame[64:], bytearray(), 0
    while at < len(data):
        head, at = data[at], at + 1
        if head < 128:
            out += data[at : at + head + 1]
            at += head + 1
        elif head > 128:
            out += data[at : at + 1] * (257 - head)
            at += 1
    return bytes(out)


def by_hand(frame, syntax, dataset):
    """What pydicom has no decoder for; None where it has one."""
    if syntax in JPEG_XL:
        image = Image.open(io.BytesIO(frame))
        if dataset.BitsAllocated != 8:
            raise ValueError("JPEG XL of more than 8 bits")
        return numpy.asarray(image)
    if syntax == DEFLATED_FRAMES:
        return unpacked_bits(zlib.decompress(frame, -15), dataset)
    if syntax == RLE and dataset.BitsAllocated == 1:
        return unpacked_bits(run_lengths(frame), dataset)
    return None


def decoded_frame(frame, syntax, dataset):
    """The samples of one frame in a transfer syntax, of an image with these attributes."""
    made = by_hand(frame, syntax, dataset)
    if made is not None:
        return made
    if "FloatPixelData" in dataset:
        return numpy.frombuffer(frame, "<f4").reshape(dataset.Rows, dataset.Columns)
    image = pydicom.Dataset()
    for keyword in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated",
                    "BitsStored", "HighBit", "PixelRepresentation"):
        if keyword in dataset:
            setattr(image, keyword, dataset.get(keyword))
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    native = syntax in NATIVE
    whole = image.Rows * image.Columns * image.SamplesPerPixel * image.BitsAllocated // 8
    if image.PhotometricInterpretation == "YBR_FULL_422" and native and len(frame) >= whole:
        image.PhotometricInterpretation = "YBR_FULL"
    image.PixelData = frame if native else encapsulate([frame])
    image["PixelData"].VR = "OW" if image.BitsAllocated > 8 else "OB"
    image._is_implicit_vr, image._is_little_endian = False, True
    return get_decoder(syntax).as_array(image, raw=True)[0]


def samples_of(dataset):
    """The samples of all frames of a dataset, one behind the other."""
    syntax = dataset.file_meta.TransferSyntaxUID
    count = int(dataset.get("NumberOfFrames") or 1)
    if syntax in JPEG_XL or syntax == DEFLATED_FRAMES or (syntax == RLE and dataset.BitsAllocated == 1):
        frames = generate_frames(dataset.PixelData, number_of_frames=count)
        return numpy.stack([by_hand(frame, syntax, dataset) for frame in frames])
    samples = get_decoder(syntax).as_array(dataset, raw=True)[0]
    return samples if count > 1 else samples[numpy.newaxis]


@lru_cache(maxsize=8)
def sent(path):
    """A file with its samples, or without where nothing here decodes them."""
    dataset = pydicom.dcmread(path, force=True)
    try:
        return dataset, samples_of(dataset)
    except Exception:
        return dataset, None


def little(samples):
    return samples.astype(samples.dtype.newbyteorder("<")).tobytes()


def fragments(dataset):
    """The frames of a file as they are stored; None where they are samples."""
    if dataset.file_meta.TransferSyntaxUID in NATIVE:
        return None
    return list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)))


def looked_at(dataset, form, answers):
    """Whether pictures are of the kind and size they should be, and show something."""
    kind, *side = form.split(",")[1:]
    for answer in answers:
        picture = Image.open(io.BytesIO(answer))
        picture.load()
        columns, rows = picture.size
        if picture.format.lower() != kind:
            raise ValueError(f"a picture of {picture.format}")
        if not side and not (dataset.Columns <= columns and dataset.Rows <= rows):
            raise ValueError(f"a picture of {columns} x {rows}, of {dataset.Columns} x {dataset.Rows}")
        if side and max(columns, rows) != int(side[0]):
            raise ValueError(f"a picture of {columns} x {rows} for a side of {side[0]}")
    return {"picture": f"{columns} x {rows}"}


def compare(source, reference, known, numbers, form, answers):
    answers = [open(answer, "rb").read() for answer in answers.split(",")]
    dataset, _ = sent(source)
    if form == "value":
        return {"as_sent": answers == [dataset.PixelData], "equal": answers == [dataset.PixelData]}
    if form == "stream":
        same = answers == [b"".join(list(generate_fragments(dataset.PixelData))[1:])]
        return {"as_sent": same, "equal": same}
    if form.startswith("picture"):
        return looked_at(dataset, form, answers)
    numbers = [int(number) for number in numbers.split(",")]
    found = {}
    if form == dataset.file_meta.TransferSyntaxUID and (stored := fragments(dataset)):
        found["as_sent"] = answers == [stored[number - 1] for number in numbers]
    try:
        if form == "file":
            samples = samples_of(pydicom.dcmread(io.BytesIO(answers[0]), force=True))
        else:
            samples = numpy.stack([decoded_frame(answer, form, dataset) for answer in answers])
    except Exception as error:
        return found | {"error": f"{type(error).__name__}: {error}"}
    found["equal"] = hashlib.sha256(little(samples)).hexdigest() == known
    own = sent(reference)[1]
    if own is not None:
        wanted = own[[number - 1 for number in numbers]]
        if wanted.shape != samples.shape:
            raise ValueError(f"{samples.shape} samples, not {wanted.shape}")
        found["mean"] = float(numpy.abs(wanted.astype(float) - samples.astype(float)).mean())
        # Frames by themselves have no hash in the manifest; those of a file that has the right one are right.
        found["equal"] |= found["mean"] == 0 and hashlib.sha256(little(own)).hexdigest() == known
    return found


def main():
    for line in open(sys.argv[1], encoding="utf-8"):
        try:
            print(json.dumps(compare(*line.rstrip("\n").split("\t"))), flush=True)
        except Exception as error:  # one answer that does not decode is for the test to judge
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)


main()
