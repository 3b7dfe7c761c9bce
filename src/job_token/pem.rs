//! PEM (RFC 7468): finding the blocks of a file, writing one.
//!
//! Invariant: every block of a file is found. The library reads the first one only, and the second
//! of two keys would be left out unnoticed.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// One block, from its `BEGIN` line to its `END` line.
pub(super) struct Block<'a> {
    /// What stands behind `BEGIN`: `PUBLIC KEY`.
    pub(super) label: &'a str,
    pub(super) text: &'a str,
}

/// The blocks of a text; what stands between them is no part of any. `None` if one doesn't end.
pub(super) fn blocks(text: &str) -> Option<Vec<Block<'_>>> {
    const BEGIN: &str = "-----BEGIN ";
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let block = &rest[at..];
        let (label, _) = block[BEGIN.len()..].split_once("-----")?;
        let end = format!("-----END {label}-----");
        let length = block.find(&end)? + end.len();
        found.push(Block { label, text: &block[..length] });
        rest = &block[length..];
    }
    Some(found)
}

/// A block of its own, overwritten when it is dropped, for it may hold a private key.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(Base64::encode_string(der));
    // No growing: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * base64.len() + 4 * label.len() + 64));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_blocks_are_found_and_none_that_has_no_end() {
        let one = encode("PUBLIC KEY", &[7; 100]);
        let two = format!("a comment\n{}between\n{}", *one, *encode("X", b"y"));
        let found = blocks(&two).unwrap();
        let labels: Vec<&str> = found.iter().map(|block| block.label).collect();
        assert_eq!(labels, ["PUBLIC KEY", "X"]);
        assert_eq!(found[0].text, one.trim_end());
        assert!(one.lines().all(|line| line.len() <= 64), "{}", *one);
        assert!(blocks("").unwrap().is_empty());
        for cut in
            ["-----BEGIN ", "-----BEGIN X-----\nAA==\n", "-----BEGIN X-----\n-----END Y-----"]
        {
            assert!(blocks(cut).is_none(), "{cut}");
        }
    }
}
