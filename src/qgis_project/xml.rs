//! What the walk needs to know of XML, and of the names in QGIS's.

use std::sync::Arc;

use quick_xml::Error;
use quick_xml::escape::{EscapeError, unescape};
use quick_xml::events::BytesStart;
use zeroize::Zeroizing;

use super::{Fault, shown};

/// Elements that hold, with all that is in them, no expression: prose, code, definitions of
/// coordinate systems; and data sources, which are looked at on their own.
pub(super) const SILENT_ELEMENTS: [&str; 19] = [
    "abstract",
    "author",
    "datasource",
    "description",
    "editforminitcode",
    "homePath",
    "id",
    "keywordList",
    "layername",
    "layerorder",
    "metadataUrls",
    "projectMetadata",
    "provider",
    "resourceMetadata",
    "shortname",
    "spatialrefsys",
    "src",
    "srs",
    "title",
];

/// Attributes of the same sort.
pub(super) const SILENT_ATTRIBUTES: [&str; 12] = [
    "alias",
    "comment",
    "desc",
    "description",
    "id",
    "name",
    "project",
    "projectname",
    "saveUser",
    "saveUserFull",
    "source",
    "uuid",
];

/// Without the library's text: it quotes the document.
pub(super) fn from_error(error: Error) -> Fault {
    match error {
        Error::Io(error) => {
            Fault::Io(Arc::try_unwrap(error).unwrap_or_else(|shared| shared.kind().into()))
        }
        Error::Encoding(_) => Fault::NotUtf8,
        _ => Fault::Malformed(0),
    }
}

pub(super) fn is_utf8(encoding: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|name| encoding.eq_ignore_ascii_case(name))
}

/// Whether a setting of this name holds a password, or a data source that can have one.
///
/// Only its own value is meant: below `dataDefinedSource` there is an expression.
pub(super) fn names_credentials(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    label.contains("password") || label.ends_with("source") || label.ends_with("uri")
}

/// What an element is about, in its own words.
pub(super) fn label(start: &BytesStart<'_>, tag: &str) -> Result<Option<String>, Fault> {
    let names: &[&str] = match tag {
        "property" | "prop" => &["key", "k"],
        _ => &["field", "name"],
    };
    for name in names {
        if let Some(value) = attribute(start, name)?
            && !value.is_empty()
        {
            return Ok(Some(shown(&value)));
        }
    }
    Ok(None)
}

pub(super) fn attribute(
    start: &BytesStart<'_>,
    name: &str,
) -> Result<Option<Zeroizing<String>>, Fault> {
    // Without the check for repeated attributes, which takes the square of their number.
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| Fault::Malformed(0))?;
        if attribute.key.as_ref() == name {
            return unescaped(&attribute.value).map(Some);
        }
    }
    Ok(None)
}

pub(super) fn unescaped(raw: &str) -> Result<Zeroizing<String>, Fault> {
    match unescape(raw) {
        Ok(value) => Ok(Zeroizing::new(value.into_owned())),
        Err(EscapeError::UnrecognizedEntity(..)) => Err(Fault::Entity),
        Err(_) => Err(Fault::Malformed(0)),
    }
}
