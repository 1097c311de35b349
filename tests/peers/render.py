"""Shows frames by pydicom, as a second opinion on ours.

usage: render.py LIST

LIST holds a line for each frame, of fields separated by tabs: the file; the frame's number from 1; a file of its decoded samples;
their numpy type, rows, columns, samples a pixel, bits stored, photometric interpretation; the file to write the picture to, a byte
a sample. Prints for each the window it showed, as centre and width of a LINEAR_EXACT one, where it chose one itself; "-" where
the dataset said what to show; "! why" where it could not.
"""

import sys

import numpy
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, convert_color_space

MACROS = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
}


def of_frame(dataset, number):
    """The dataset with what the functional groups say of one frame at its top."""
    groups = []
    if per_frame := dataset.get("PerFrameFunctionalGroupsSequence"):
        groups.append(per_frame[number - 1])
    if shared := dataset.get("SharedFunctionalGroupsSequence"):
        groups.append(shared[0])
    for macro, attributes in MACROS.items():
        for group in groups:
            if macro in group:
                for attribute in attributes:
                    if attribute in group[macro].value[0]:
                        setattr(dataset, attribute, group[macro].value[0].get(attribute))
                break
    return dataset


def shown(dataset, samples, photometric, bits):
    """A picture of bytes, and the window chosen."""
    if samples.ndim == 3:
        if photometric.startswith("YBR_FULL"):
            samples = convert_color_space(samples, "YBR_FULL", "RGB")
        return numpy.round(samples / float(2**bits - 1) * 255), None
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(samples, dataset)
        wide = dataset.RedPaletteColorLookupTableDescriptor[2] > 8
        return colours >> 8 if wide and colours.max() > 255 else colours, None
    # It refuses a dataset of float samples or without a representation.
    dataset.BitsStored = bits
    dataset.PixelRepresentation = int(samples.dtype.kind == "i")
    dataset.PhotometricInterpretation = photometric
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if samples.dtype.kind == "i" else (0, 2**bits - 1)
    values = apply_modality_lut(samples, dataset)
    slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
    low, high = low * slope + intercept, high * slope + intercept
    window = None
    if "WindowWidth" not in dataset and "VOILUTSequence" not in dataset:
        if bits > 8:
            # Ours looks at the frame too, by a rule of its own; what matters here is that both show the same window alike.
            low, high = float(values.min()), float(values.max())
            window = (low + high) / 2, max(high - low, 1)
        shades = (values.astype(float) - low) / max(high - low, 1)
    else:
        shades = (apply_voi_lut(values, dataset).astype(float) - low) / (high - low)
    dark_is_high = photometric == "MONOCHROME1"
    if shape := dataset.get("PresentationLUTShape"):
        dark_is_high = shape == "INVERSE"
    return numpy.round((1 - shades if dark_is_high else shades) * 255), window


def main():
    for line in open(sys.argv[1], encoding="utf-8"):
        path, number, stored, kind, rows, columns, planes, bits, photometric, picture = line.rstrip("\n").split("\t")
        try:
            dataset = of_frame(pydicom.dcmread(path, force=True, stop_before_pixels=True), int(number))
            shape = (int(rows), int(columns), int(planes)) if planes != "1" else (int(rows), int(columns))
            samples = numpy.fromfile(stored, dtype=kind).reshape(shape)
            greys, window = shown(dataset, samples, photometric, int(bits))
            numpy.clip(greys, 0, 255).astype(numpy.uint8).tofile(picture)
            print("-" if window is None else f"{window[0]!r} {window[1]!r}", flush=True)
        except Exception as error:  # one frame it cannot show is for the test to judge
            print(f"! {type(error).__name__}: {error}".replace("\n", " "), flush=True)


main()
