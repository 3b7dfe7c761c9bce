//! The masker against the slow one: random values, in random forms, cut, glued with noise, in
//! random pieces.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

use super::renderings::{ENCODERS, HARD};
use super::slow::Slow;
use super::{Named, feed, hits, masked, masker};

/// Tries a property some seconds long, or as often as the environment says.
#[track_caller]
fn holds<S: Strategy>(usual: u32, input: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let cases = std::env::var("QGIS_SECRETS_TEST_CASES");
    let cases = cases.map_or(usual, |count| count.parse().unwrap());
    let usual = ProptestConfig::default();
    let config = ProptestConfig { cases, failure_persistence: None, ..usual };
    if let Err(failed) = TestRunner::new(config).run(input, test) {
        panic!("{failed}");
    }
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => select(HARD).prop_map(|text| text.as_bytes().to_vec()),
        2 => "[A-Za-z0-9]{4,24}".prop_map(String::into_bytes),
        2 => "[a-z]{4,8}(-[a-z]{4,8}){0,2}".prop_map(String::into_bytes),
        2 => "[ab]{4,9}".prop_map(String::into_bytes),
        2 => "[ -~]{4,16}".prop_map(String::into_bytes),
        1 => "[\\\\\"'%&; ]{4,10}".prop_map(String::into_bytes),
        1 => "\\PC{4,8}".prop_map(String::into_bytes),
        1 => "[a-z0-9\\\\]{2,10}(\r?\n[a-z0-9 ]{6,12}){1,3}\n?".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 4..16),
    ]
}

/// Values under names; some are parts of others, some stand under two names, some names have two.
fn values() -> impl Strategy<Value = Vec<Named>> {
    let one = (value(), 0..12_u8, any::<Index>());
    vec(one, 1..5).prop_map(|made| {
        let mut values: Vec<Named> = Vec::new();
        for (mut value, like, which) in made {
            if like < 3 && !values.is_empty() {
                let other = &values[which.index(values.len())].1;
                value = match like {
                    0 => other.clone(),
                    1 => other[..other.len().div_ceil(2)].to_vec(),
                    _ => [other, &value[..]].concat(),
                };
            }
            let number = if like == 3 { 0 } else { values.len() };
            values.push((format!("envvar:V{number}"), value));
        }
        values
    })
}

/// What stands between values: bits of forms, and anything else.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    const BITS: &[&str] = &[
        "\\",
        "\\\\",
        "\\\\\\",
        "%",
        "%5C",
        "%5c",
        "%25",
        "%2",
        "%0A",
        "&",
        "&#",
        "&amp;",
        "&quot",
        "&#x",
        ";",
        "\x1b",
        "\x1b[",
        "\x1b[0m",
        "\x1b[1;3",
        "=",
        "==",
        "\n",
        "\r\n",
        "\r",
        "\\n",
        "\\r",
        "u00",
        "\\u00",
        "x",
        "'",
        "\"",
        "''",
        "'\\''",
        " ",
        "+",
        "a",
        "ab",
        "aab",
        "b",
        "-",
        "-----BEGIN PRIVATE KEY-----\n",
        "é",
        "\u{1f600}",
        "\t",
        "_",
    ];
    prop_oneof![
        4 => select(BITS).prop_map(|text| text.as_bytes().to_vec()),
        1 => "[A-Za-z0-9+/ ]{0,9}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..9),
    ]
}

/// A part of a text.
#[derive(Clone, Debug)]
enum Part {
    Noise(Vec<u8>),
    /// Which value, by which encoders, how varied, and how much is cut off at both ends.
    Rendered {
        value: Index,
        encoders: Vec<usize>,
        vary: usize,
        cut: (usize, usize),
    },
}

fn part() -> impl Strategy<Value = Part> {
    let cut = prop_oneof![4 => Just(0_usize), 1 => 0..20_usize];
    let encoders = prop_oneof![3 => vec(0..ENCODERS.len(), 1), 1 => vec(0..ENCODERS.len(), 2)];
    let rendered = (any::<Index>(), encoders, 0..40_usize, cut.clone(), cut);
    prop_oneof![
        1 => noise().prop_map(Part::Noise),
        2 => rendered.prop_map(|(value, encoders, vary, before, after)| Part::Rendered {
            value,
            encoders,
            vary,
            cut: (before, after),
        }),
    ]
}

/// The text, and which renderings it has whole.
fn text(values: &[Named], parts: &[Part]) -> Vec<u8> {
    let mut text = Vec::new();
    for part in parts {
        match part {
            Part::Noise(bytes) => text.extend_from_slice(bytes),
            Part::Rendered { value, encoders, vary, cut: (before, after) } => {
                let mut bytes = value.get(values).1.clone();
                for encoder in encoders {
                    bytes = ENCODERS[*encoder].1(&bytes, *vary);
                }
                let end = bytes.len().saturating_sub(*after);
                text.extend_from_slice(&bytes[(*before).min(end)..end]);
            }
        }
    }
    text
}

/// How many bytes come at once, over and over.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        1 => Just(vec![usize::MAX]),
        2 => Just(vec![1]),
        4 => vec(1..40_usize, 1..6),
    ]
}

/// As the name of a program is, in bytes.
const SHORT: usize = 48;

#[test]
fn masks_what_the_slow_one_masks() {
    let seen = RefCell::new(BTreeMap::<&str, (u32, u32)>::new());
    let input = (values(), vec(part(), 0..9), sizes());
    holds(300, &input, |(values, parts, sizes)| {
        let text = text(&values, &parts);
        let (expected, counts) = Slow::new(&values).mask(&text);
        let masker = masker(&values);
        let mut stream = masker.stream();
        let (mut out, mut at) = (Vec::new(), 0);
        for size in sizes.iter().cycle() {
            if at == text.len() {
                break;
            }
            at += feed(&mut stream, &text[at..], *size, &mut out);
        }
        out.extend_from_slice(stream.end());
        prop_assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
        prop_assert_eq!(&hits(&stream), &counts);
        if let Ok(text) = std::str::from_utf8(&text) {
            let whole = masker.text(text);
            // A value may end within a character, if it is no text.
            prop_assert_eq!(whole, String::from_utf8_lossy(&expected));
            // A short text that is the first one is searched in another way.
            let short = &text[..text.floor_char_boundary(SHORT)];
            let (expected, _) = Slow::new(&values).mask(short.as_bytes());
            let first = super::masker(&values).text(short).into_owned();
            prop_assert_eq!(first, String::from_utf8_lossy(&expected));
        }
        for part in &parts {
            if let Part::Rendered { encoders, .. } = part {
                for encoder in encoders {
                    let mut seen = seen.borrow_mut();
                    let (all, masked) = seen.entry(ENCODERS[*encoder].0).or_default();
                    *all += 1;
                    *masked += u32::from(!counts.is_empty());
                }
            }
        }
        Ok(())
    });
    // It compares something, for each encoder.
    let seen = seen.borrow();
    assert_eq!(seen.len(), ENCODERS.len(), "{seen:?}");
    assert!(seen.values().all(|(all, masked)| *all > 5 && masked * 3 > *all), "{seen:?}");
}

#[test]
fn pieces_make_no_difference() {
    let input = (values(), vec(part(), 0..9), sizes());
    holds(300, &input, |(values, parts, sizes)| {
        let text = text(&values, &parts);
        let masker = masker(&values);
        let whole = masked(&masker, &text, usize::MAX);
        for size in sizes.into_iter().chain([1, 2, 7]) {
            prop_assert_eq!(&masked(&masker, &text, size), &whole);
        }
        Ok(())
    });
}

#[test]
fn what_is_no_value_passes_unchanged() {
    // No byte of a value, nor of its forms, but a few.
    let values = [("envvar:A".to_owned(), b"QZJ-94711-qzj-XKW".to_vec())];
    let masker = masker(&values);
    holds(300, &(vec(any::<u8>(), 0..3_000), sizes()), |(bytes, sizes)| {
        for size in sizes {
            let (out, hits) = masked(&masker, &bytes, size);
            prop_assert_eq!(&out, &bytes);
            prop_assert!(hits.is_empty());
        }
        Ok(())
    });
    // And more than any buffer holds.
    let many: Vec<u8> =
        (0..3_000_000_u32).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let (out, hits) = masked(&masker, &many, usize::MAX);
    assert!(out == many && hits.is_empty());
}

/// What is held back may be the beginning of a value, or belongs to a stretch that such a
/// beginning overlaps.
#[test]
fn nothing_waits_that_cannot_be_a_value() {
    let waited = RefCell::new(BTreeSet::new());
    let input = (values(), vec(part(), 1..5), vec(any::<Index>(), 1..4));
    holds(150, &input, |(values, parts, places)| {
        let text = text(&values, &parts);
        let slow = Slow::new(&values);
        let masker = masker(&values);
        let whole = slow.mask(&text).0;
        for place in places {
            let text = &text[..place.index(text.len() + 1)];
            let mut stream = masker.stream();
            let (mut out, mut at) = (Vec::new(), 0);
            while at < text.len() {
                at += feed(&mut stream, &text[at..], usize::MAX, &mut out);
            }
            let (held, undecided) = (stream.held(), slow.undecided(text));
            let decided = slow.mask(&text[..text.len() - undecided]).0;
            prop_assert!(whole.starts_with(&decided), "the slow one decides too early");
            prop_assert!(
                held <= undecided,
                "{held} bytes wait, {undecided} may, of {}",
                text.escape_ascii()
            );
            waited.borrow_mut().insert(held);
            out.extend_from_slice(stream.end());
            prop_assert_eq!(out, slow.mask(text).0);
        }
        Ok(())
    });
    assert!(waited.borrow().len() > 5, "hardly anything ever waited: {waited:?}");
}

/// Long values over the ends of buffers.
#[test]
fn a_value_is_found_wherever_it_stands() {
    let long: String = (0..9_000).map(|i| char::from(b'a' + (i * i % 23) as u8)).collect();
    let values = [("envvar:A".to_owned(), long.clone().into_bytes())];
    let masker = masker(&values);
    for before in [0, 1, 65_000, 65_535, 65_536, 70_000, 131_071] {
        let text = [&vec![b'.'; before][..], long.as_bytes(), b"\n"].concat();
        for most in [usize::MAX, 4_096, 65_521] {
            let (out, hits) = masked(&masker, &text, most);
            assert!(
                out == [&vec![b'.'; before][..], b"***\n"].concat(),
                "{before} before it, by {most}"
            );
            assert_eq!(hits, BTreeMap::from([("envvar:A".to_owned(), 1)]));
        }
    }
}

/// What was given out to somebody who waits is gone; what comes after it is masked as ever.
#[test]
fn what_is_released_is_what_was_held() {
    let values = [("envvar:A".to_owned(), b"Survey2024!".to_vec())];
    let masker = masker(&values);
    let mut stream = masker.stream();
    let mut out = Vec::new();
    feed(&mut stream, b"Password: Sur", usize::MAX, &mut out);
    assert_eq!((out.as_slice(), stream.held()), (&b"Password: "[..], 3));
    assert_eq!(stream.release(2), b"");
    assert_eq!(stream.release(3), b"Sur");
    assert_eq!(stream.held(), 0);
    out.clear();
    feed(&mut stream, b"vey2024! Survey2024!\n", usize::MAX, &mut out);
    out.extend_from_slice(stream.end());
    assert!(!out.windows(11).any(|window| window == b"Survey2024!"), "{}", out.escape_ascii());
    assert!(out.ends_with(b" ***\n"), "{}", out.escape_ascii());
}

/// Each encoder alone, on each of the hard values: the definition knows its form. Otherwise the
/// comparisons above would compare nothing with nothing.
#[test]
fn the_definition_knows_the_encoders() {
    for value in HARD.iter().filter(|value| value.len() >= 8) {
        let core = value.as_bytes().trim_ascii();
        let slow = Slow::new(&[("envvar:A".to_owned(), core.to_vec())]);
        for (name, encode) in ENCODERS {
            let whole = match *name {
                "upper" | "upper, all letters" | "lower" => value
                    .contains(|c: char| c.is_ascii() && !c.is_alphabetic() && !" -_.".contains(c)),
                // Makes CR CR LF of what has CR LF.
                "CRLF" => !value.contains('\r'),
                "coloured" | "one line" | "first lines indented" => false,
                _ => true,
            };
            let text = encode(core, 0);
            let masked = slow.mask(&text).0.escape_ascii().to_string();
            assert!(!whole || masked == "***", "{name}: {masked}");
            let behind = slow.mask(&encode(core, 1)).0;
            assert!(
                !whole || behind.windows(3).any(|window| window == b"***"),
                "{name}: {value:?}"
            );
        }
    }
}
