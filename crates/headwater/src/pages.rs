//! The built-in pages, inside the binary.

use headwater_edge::Asset;
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Dist;

/// A file of the built pages.
pub(crate) fn find(name: &str) -> Option<Asset> {
    let file = Dist::get(name)?;
    Some(Asset { mime: file.metadata.mimetype().to_owned(), data: file.data })
}
