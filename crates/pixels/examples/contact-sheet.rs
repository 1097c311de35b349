//! Contact sheets: a thumbnail of every file of the test data, for a person to look at.
//!
//! usage: contact-sheet OUT

#![expect(clippy::print_stdout, reason = "says what it wrote")]

#[path = "../tests/render/files.rs"]
mod files;
#[path = "../tests/support/folder.rs"]
mod folder;

use std::{fs, path::Path};

use filmgate_pixels::render::{Format, Raster, RenderOptions, Rendering, Viewport};

use files::Instance;

/// Pixels of a side of a thumbnail, and the height of a tile with its caption.
const SIDE: u32 = 200;
const TILE_HEIGHT: u32 = SIDE + 26;

/// Room around a thumbnail.
const GAP: u32 = 6;

/// Tiles of a sheet.
const COLUMNS: u32 = 7;
const ROWS: u32 = 5;

/// Letters that fit under a thumbnail.
const CAPTION_LETTERS: usize = SIDE as usize / 6;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, out] = &arguments[..] else {
        println!("usage: contact-sheet OUT");
        return;
    };
    let Some(data) = folder::folder() else {
        println!("no test data: set FILMGATE_TEST_DATA");
        return;
    };
    let out = Path::new(out);
    let _ = fs::remove_dir_all(out);
    fs::create_dir_all(out).expect("make the folder for the sheets");
    let mut tiles = Vec::new();
    for path in files::paths(&data) {
        match picture(&data.join(&path)) {
            Ok(Some((picture, note))) => tiles.push(tile(&path, &note, Some(&picture))),
            Ok(None) => {}
            Err(error) => {
                println!("{path}: {error}");
                tiles.push(tile(&path, &error, None));
            }
        }
    }
    for (number, tiles) in tiles.chunks((COLUMNS * ROWS) as usize).enumerate() {
        let name = out.join(format!("sheet-{:02}.png", number + 1));
        fs::write(&name, sheet(tiles).to_png().expect("a PNG")).expect("write a sheet");
        println!("{}", name.display());
    }
}

/// A thumbnail of the middle frame and what to say of it; nothing of a file without pixels.
fn picture(path: &Path) -> Result<Option<(Raster, String)>, String> {
    let instance = match Instance::open(path) {
        Err(error) if error == "it has no pixels" || error.starts_with("unread") => return Ok(None),
        opened => opened?,
    };
    let number = instance.image.frames.div_ceil(2);
    let frame = instance.frame(number).map_err(|error| error.to_string())?;
    let viewport = Viewport { width: SIDE, height: SIDE, region: None };
    let options = RenderOptions { viewport: Some(viewport), overlays: true, ..RenderOptions::default() };
    let rendering = Rendering::of(&instance.dataset, &instance.image, number);
    let raster = rendering.and_then(|rendering| rendering.render(&frame, &options));
    let raster = raster.map_err(|error| error.to_string())?;
    let (columns, rows) = (instance.image.columns, instance.image.rows);
    let note = format!("{columns}x{rows} {}/{}", number, instance.image.frames);
    Ok(Some((raster, note)))
}

fn tile(path: &str, note: &str, picture: Option<&Raster>) -> Raster {
    let mut tile = Raster::black(SIDE, TILE_HEIGHT, Format::Rgb8);
    let mut words = format!("{path} {note}");
    words.retain(|letter| letter.is_ascii());
    let letters: Vec<char> = words.chars().collect();
    let lines: Vec<String> = letters.chunks(CAPTION_LETTERS).map(|line| line.iter().collect()).collect();
    match picture {
        Some(picture) => {
            paste(&mut tile, picture, (SIDE - picture.width) / 2, (SIDE - picture.height) / 2);
            let name: String = letters.iter().rev().take(2 * CAPTION_LETTERS).rev().collect();
            let (first, second) = name.split_at(name.len().min(CAPTION_LETTERS));
            tile.write(0, SIDE + 2, first);
            tile.write(0, SIDE + 13, second);
        }
        None => (0_u32..).zip(&lines).for_each(|(line, words)| tile.write(0, 20 + 12 * line, words)),
    }
    tile
}

fn sheet(tiles: &[Raster]) -> Raster {
    let mut sheet = Raster::black(COLUMNS * (SIDE + GAP), ROWS * (TILE_HEIGHT + GAP), Format::Rgb8);
    // Not black, so that black pictures show.
    sheet.bytes.fill(70);
    for (index, tile) in (0_u32..).zip(tiles) {
        let (column, row) = (index % COLUMNS, index / COLUMNS);
        paste(&mut sheet, tile, column * (SIDE + GAP) + GAP / 2, row * (TILE_HEIGHT + GAP) + GAP / 2);
    }
    sheet
}

/// Copies a picture into one of colours.
fn paste(onto: &mut Raster, picture: &Raster, left: u32, top: u32) {
    for y in 0..picture.height {
        for x in 0..picture.width {
            let from = (y * picture.width + x) as usize;
            let colour = match picture.format {
                Format::Gray8 => [picture.bytes[from]; 3],
                Format::Rgb8 => [0, 1, 2].map(|part| picture.bytes[3 * from + part]),
            };
            let to = 3 * ((top + y) * onto.width + left + x) as usize;
            onto.bytes[to..to + 3].copy_from_slice(&colour);
        }
    }
}
