//! What a body may be coded in, by its names.

/// Most codings in a row that are read.
pub const MAX_CODINGS: usize = 3;

/// How a body is packed. Source: RFC 9110, section 8.4.1; RFC 7932 (br); RFC 8878 (zstd).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, of one member or several.
    Gzip,
    /// `deflate`: in zlib's envelope, or without one, as some senders have it.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl Coding {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Deflate, Self::Brotli, Self::Zstd];

    /// As `Content-Encoding` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "x-gzip" => Some(Self::Gzip),
            "brotli" => Some(Self::Brotli),
            name => Self::ALL.into_iter().find(|coding| coding.name() == name),
        }
    }
}

/// A `Content-Encoding` that cannot be read: it names something that is no coding here, or too many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCoding;

/// What people write into `Content-Encoding` that is no coding of the body: charsets, and words for none.
const PLAIN: [&str; 12] = [
    "",
    "7bit",
    "8bit",
    "application/json",
    "ascii",
    "binary",
    "identity",
    "json",
    "latin1",
    "none",
    "us-ascii",
    "utf8",
];
/// How the names of charsets begin.
const CHARSETS: [&str; 3] = ["utf-", "iso-8859-", "windows-125"];

/// The codings that a `Content-Encoding` names, in the order in which they were applied.
///
/// # Errors
///
/// It names something else, or more than [`MAX_CODINGS`].
pub fn codings(content_encoding: &str) -> Result<Vec<Coding>, UnknownCoding> {
    let mut found = Vec::new();
    for name in content_encoding.split(',') {
        let name = name.trim().to_ascii_lowercase();
        if PLAIN.contains(&name.as_str()) || CHARSETS.iter().any(|begin| name.starts_with(begin)) {
            continue;
        }
        found.push(Coding::named(&name).filter(|_| found.len() < MAX_CODINGS).ok_or(UnknownCoding)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_their_order_and_words_for_none_are_none() {
        assert_eq!(codings(""), Ok(vec![]));
        for plain in ["identity", "UTF-8", "none, 8bit", "application/json", "iso-8859-1", "utf8,"] {
            assert_eq!(codings(plain), Ok(vec![]), "{plain}");
        }
        assert_eq!(codings("deflate, X-GZIP ,identity"), Ok(vec![Coding::Deflate, Coding::Gzip]));
        assert_eq!(codings("br,zstd,gzip"), Ok(vec![Coding::Brotli, Coding::Zstd, Coding::Gzip]));
        for unknown in ["compress", "gzip br", "gzip, gzip, gzip, gzip", "klingon, gzip"] {
            assert_eq!(codings(unknown), Err(UnknownCoding), "{unknown}");
        }
    }
}
