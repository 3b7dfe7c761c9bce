//! Masking, judged by what is not the masker: a second one that is slow and obvious, and programs
//! that write values in forms of their own.

pub(crate) mod decoders;
mod encoders;
mod properties;
mod qgis_log;
mod renderings;
mod slow;

use std::collections::BTreeMap;
use std::sync::Arc;

use qgis_secrets::redact::{Masker, Sensitive, Stream};
use qgis_secrets::secret::Value;

/// A name, and the bytes of its value.
type Named = (String, Vec<u8>);

fn masker(values: &[Named]) -> Arc<Masker> {
    let sensitive =
        |(name, value): &Named| Sensitive { name: name.clone(), value: Value::new(value.clone()) };
    Arc::new(Masker::new(values.iter().map(sensitive).collect()))
}

/// Gives a stream as much of `text` as it has room for, at most `most` bytes. Returns how many.
fn feed(stream: &mut Stream, text: &[u8], most: usize, out: &mut Vec<u8>) -> usize {
    let space = stream.space();
    assert!(!space.is_empty(), "no room");
    let taken = text.len().min(most).min(space.len());
    space[..taken].copy_from_slice(&text[..taken]);
    out.extend_from_slice(stream.filled(taken));
    taken
}

/// Masks a whole text, `most` bytes at once.
fn masked(masker: &Arc<Masker>, text: &[u8], most: usize) -> (Vec<u8>, BTreeMap<String, u64>) {
    let mut stream = masker.stream();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        at += feed(&mut stream, &text[at..], most, &mut out);
    }
    out.extend_from_slice(stream.end());
    assert_eq!(stream.held(), 0, "held back after the end");
    (out, hits(&stream))
}

/// The names that were hit.
fn hits(stream: &Stream) -> BTreeMap<String, u64> {
    let hits = stream.hits().into_iter().filter(|(_, count)| *count > 0);
    hits.map(|(name, count)| (name.to_owned(), count)).collect()
}
