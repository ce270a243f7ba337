//! The static files: inside the binary, under a name that carries their version, so browsers may keep them for ever.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use flate2::Compression;
use poem::http::header;
use poem::web::Path;
use poem::{Request, Response, handler};
use rust_embed::RustEmbed;

use super::hx::{gzip, takes_gzip};
use crate::error::{Error, Result};
use crate::i18n::Text;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Static;

struct Embedded {
    bytes: Cow<'static, [u8]>,
    content_type: &'static str,
    compressed: OnceLock<Vec<u8>>,
}

/// By versioned name, such as `console-1f2e3d4c.css`.
static FILES: LazyLock<HashMap<String, Embedded>> = LazyLock::new(|| {
    let file = |name: Cow<'static, str>| {
        let file = Static::get(&name)?;
        let embedded = Embedded {
            bytes: file.data,
            content_type: content_type(&name),
            compressed: OnceLock::new(),
        };
        Some((versioned(&name, file.metadata.sha256_hash()), embedded))
    };
    Static::iter().filter_map(file).collect()
});

/// From plain to versioned name.
static NAMES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let name = |name: Cow<'static, str>| {
        let hash = Static::get(&name)?.metadata.sha256_hash();
        Some((name.to_string(), format!("/static/{}", versioned(&name, hash))))
    };
    Static::iter().filter_map(name).collect()
});

/// The address of a file of `static/`, without the base path.
pub fn path(name: &str) -> &'static str {
    NAMES.get(name).map_or("/static/missing", String::as_str)
}

fn versioned(name: &str, hash: [u8; 32]) -> String {
    let version: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}-{version}.{extension}"),
        None => format!("{name}-{version}"),
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

/// `GET /static/{name}`
#[handler]
pub fn show(Path(name): Path<String>, req: &Request) -> Result<Response> {
    let file = FILES
        .get(&name)
        .ok_or_else(|| Error::NotFound(Text::new("error.no_file").with("name", &name)))?;
    let answer = Response::builder()
        .header(header::CACHE_CONTROL, "public, max-age=31536000, immutable")
        .header(header::VARY, "Accept-Encoding")
        .content_type(file.content_type);
    if takes_gzip(req.headers()) && file.content_type.starts_with("text/") {
        let made = || gzip(&file.bytes, Compression::best()).unwrap_or_default();
        let compressed = file.compressed.get_or_init(made);
        if !compressed.is_empty() {
            return Ok(answer
                .header(header::CONTENT_ENCODING, "gzip")
                .body(compressed.as_slice()));
        }
    }
    Ok(answer.body(file.bytes.as_ref()))
}
