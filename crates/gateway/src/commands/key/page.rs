//! The page of the recovery sheet: one sheet of A4, Chinese first, with nothing fetched from anywhere.

use std::fmt::Write;

use anyhow::Context;
use filmgate_model::{SiteId, Timestamp};
use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around a QR code (ISO/IEC 18004).
const QUIET: i32 = 4;

/// What the page says.
pub(super) struct Page<'a> {
    pub(super) name: &'a str,
    pub(super) site_id: SiteId,
    pub(super) made_at: Timestamp,
    pub(super) buckets: Vec<&'a str>,
    pub(super) has_passphrase: bool,
    pub(super) lines: &'a [String],
}

/// The page, whole.
pub(super) fn render(page: &Page<'_>) -> anyhow::Result<String> {
    let code = QrCode::encode_text(&page.lines.join("\n"), QrCodeEcc::Medium).context("draw the QR code")?;
    let lines = page.lines.iter().map(|line| format!("<li>{}</li>", escaped(line))).collect::<String>();
    let passphrase = match page.has_passphrase {
        true => {
            "此恢复单另需口令（口令请分开保管）。<span>A passphrase is needed as well: keep it elsewhere.</span>"
        }
        false => {
            "凭此单即可打开全部影像，请按现金保管。<span>Whoever holds this sheet opens everything: keep it like cash.</span>"
        }
    };
    Ok(format!(
        include_str!("sheet.html"),
        name = escaped(page.name),
        site = page.site_id,
        made = escaped(&page.made_at.to_string()[..10]),
        buckets = escaped(&page.buckets.join(", ")),
        passphrase = passphrase,
        lines = lines,
        code = drawn(&code),
    ))
}

fn drawn(code: &QrCode) -> String {
    let size = code.size() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|&x| code.get_module(x, y)) {
            write!(path, "M{},{}h1v1h-1z", x + QUIET, y + QUIET).expect("a string takes what is written");
        }
    }
    format!(r#"<svg viewBox="0 0 {size} {size}" shape-rendering="crispEdges"><path d="{path}"/></svg>"#)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
