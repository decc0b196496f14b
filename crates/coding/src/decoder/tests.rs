use proptest::prelude::*;

use super::*;
use crate::made::{coded, raw_deflated};

const EVENT: &[u8] = br#"{"event":"Bought","distinct_id":"ada","properties":{"amount":"49.90"}}"#;

fn read(said: &str, body: &[u8], max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    Decoder::new(said, body, max_bytes).read_to_end(&mut plain).map(|_| plain)
}

#[track_caller]
fn gives(said: &str, body: &[u8], plain: &[u8]) {
    let read = read(said, body, 1 << 20);
    assert!(read.as_ref().is_ok_and(|read| read == plain), "{said}: {read:?}");
}

#[test]
fn a_body_is_read_in_the_coding_that_its_label_names_and_its_bytes_may_have() {
    for coding in Coding::ALL {
        gives(coding.name(), &coded(coding, EVENT), EVENT);
        assert_eq!(Decoder::new(coding.name(), &coded(coding, EVENT), 1000).codings(), [coding]);
    }
    gives("deflate", &raw_deflated(EVENT), EVENT);
    gives("Brotli, UTF-8", &coded(Coding::Brotli, EVENT), EVENT);
    gives("", EVENT, EVENT);
    gives("gzip", b"", b"");
}

#[test]
fn bytes_that_are_certain_win_over_the_label() {
    let (gzip, zstd) = (coded(Coding::Gzip, EVENT), coded(Coding::Zstd, EVENT));
    for said in ["", "identity", "deflate", "br", "gzip", "zstd", "klingon"] {
        gives(said, EVENT, EVENT);
        gives(said, &gzip, EVENT);
        gives(said, &zstd, EVENT);
    }
    // JSON in another charset, within a wrong label too
    let latin: Vec<u8> = "{\"event\":\"caf\u{e9}\"}".chars().map(|character| character as u8).collect();
    let wide: Vec<u8> = "{\"event\":\"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for text in [&latin, &wide] {
        gives("br", text, text);
        gives("deflate", &coded(Coding::Gzip, text), text);
    }
    // what begins like a skipped frame's first byte is text all the same
    gives("", b"Z=1&event=a", b"Z=1&event=a");
    let form = "événement=a&distinct_id=ada".as_bytes();
    gives("br", form, form);
}

#[test]
fn a_body_as_it_comes_may_be_coded_where_its_label_or_all_that_came_of_it_says_so() {
    for (said, begin) in
        [("", &GZIP[..1]), ("", &GZIP[..]), ("", &ZSTD), ("", &[0x5a]), ("br", b"{"), ("utf-8, deflate", b"")]
    {
        assert!(may_be_coded(said, begin), "{said} {begin:?}");
    }
    for (said, begin) in [("", &b"{\"event\""[..]), ("identity", b"[{"), ("utf-8", b"(a)"), ("klingon", b"event=a")] {
        assert!(!may_be_coded(said, begin), "{said} {begin:?}");
    }
}

#[test]
fn codings_in_a_row_are_taken_off_as_they_were_put_on() {
    let both = coded(Coding::Gzip, &coded(Coding::Brotli, EVENT));
    gives("br, gzip", &both, EVENT);
    // the label names one less or one more than the bytes have
    gives("br", &both, EVENT);
    gives("gzip, br", &coded(Coding::Brotli, EVENT), EVENT);
    gives("", &coded(Coding::Gzip, &coded(Coding::Gzip, EVENT)), EVENT);
    let most = (0..MAX_CODINGS).fold(EVENT.to_vec(), |body, _| coded(Coding::Gzip, &body));
    gives("", &most, EVENT);
    let over = coded(Coding::Gzip, &most);
    assert_eq!(read("", &over, 1 << 20).unwrap(), coded(Coding::Gzip, EVENT), "the rest is left as it is");
}

#[test]
fn members_and_frames_one_after_the_other_are_one_body() {
    let (begin, end) = EVENT.split_at(20);
    for coding in [Coding::Gzip, Coding::Zstd] {
        gives("", &[coded(coding, begin), coded(coding, b""), coded(coding, end)].concat(), EVENT);
    }
    let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc", &coded(Coding::Zstd, EVENT)].concat();
    gives("", &skipped, EVENT);
}

#[test]
fn what_breaks_off_or_is_damaged_is_an_error_and_never_a_shorter_body() {
    let long = EVENT.repeat(40);
    for coding in Coding::ALL {
        let whole = coded(coding, &long);
        for cut in [whole.len() / 2, whole.len() - 1] {
            assert!(read(coding.name(), &whole[..cut], 1 << 20).is_err(), "{coding:?} cut at {cut}");
        }
    }
    let raw = raw_deflated(&long);
    assert!(read("deflate", &raw[..raw.len() - 1], 1 << 20).is_err());
    let mut flipped = coded(Coding::Zstd, &long);
    *flipped.last_mut().unwrap() ^= 1;
    assert!(read("zstd", &flipped, 1 << 20).is_err(), "the checksum is looked at");
}

#[test]
fn a_bomb_of_each_kind_ends_at_the_bound_in_a_row_too() {
    let bomb = vec![b' '; 8 << 20];
    let bodies = Coding::ALL.map(|coding| (coding.name(), coded(coding, &bomb)));
    let raw = ("deflate", raw_deflated(&bomb));
    let inner = ("br, gzip", coded(Coding::Gzip, &coded(Coding::Brotli, &bomb)));
    // what the second makes of it is small again, and what the first makes is not
    let outer = ("gzip, gzip", coded(Coding::Gzip, &[coded(Coding::Gzip, b"a"), vec![0; 8 << 20]].concat()));
    for (said, body) in bodies.into_iter().chain([raw, inner, outer]) {
        assert!(body.len() < 1 << 20, "{said} has {} bytes", body.len());
        let mut decoder = Decoder::new(said, &body, 1 << 20);
        let mut bytes = 0;
        let error = loop {
            match decoder.read(&mut [0; 4096]) {
                Ok(0) => panic!("{said} ended after {bytes} bytes"),
                Ok(read) => bytes += read,
                Err(error) => break error,
            }
        };
        let is_bounded = error.kind() == io::ErrorKind::FileTooLarge || said == "gzip, gzip";
        assert!(is_bounded && bytes <= 1 << 20, "{said}: {error} after {bytes} bytes");
    }
    let exactly = coded(Coding::Brotli, &bomb[..1 << 20]);
    assert_eq!(read("br", &exactly, 1 << 20).unwrap().len(), 1 << 20);
}

#[test]
fn empty_frames_without_end_are_an_error() {
    let many = coded(Coding::Zstd, b"").repeat(5000);
    assert!(read("zstd", &many, 1 << 20).is_err());
}

#[test]
fn a_window_that_would_take_much_memory_is_an_error() {
    // a frame of zstd that says that its window has 1 GiB
    let window = [&ZSTD[..], &[0x00, 20 << 3], &[0x01, 0x00, 0x00]].concat();
    assert!(read("zstd", &window, 1 << 20).is_err());
    // the large windows of br, which are no part of RFC 7932
    let params = brotli::enc::BrotliEncoderParams { large_window: true, lgwin: 28, ..Default::default() };
    let mut large = Vec::new();
    brotli::BrotliCompress(&mut &EVENT[..], &mut large, &params).unwrap();
    assert!(read("br", &large, 1 << 20).is_err());
}

proptest! {
    #[test]
    fn what_is_coded_is_read_as_it_was(
        plain in proptest::collection::vec(any::<u8>(), 0..2000),
        text in "[ -~\u{e9}\n]{0,300}",
        row in proptest::collection::vec(0..5_usize, 1..=MAX_CODINGS),
    ) {
        for plain in [&plain[..], text.as_bytes()] {
            // packed bytes within the codings would be unpacked, too
            prop_assume!(shown(plain).is_none());
            let (mut body, mut said) = (plain.to_vec(), Vec::new());
            for coding in &row {
                let (name, made) = match Coding::ALL.get(*coding) {
                    Some(coding) => (coding.name(), coded(*coding, &body)),
                    None => ("deflate", raw_deflated(&body)),
                };
                (body, _) = (made, said.push(name));
            }
            let read = read(&said.join(", "), &body, 1 << 20);
            prop_assert_eq!(read.as_deref().ok(), Some(plain), "{:?} of {} bytes: {:?}", said, plain.len(), read);
        }
    }
}
