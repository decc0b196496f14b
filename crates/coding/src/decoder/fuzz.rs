//! Any bytes under any label, guided by coverage: `cargo xtask fuzz codings`.

use std::io::{ErrorKind, Read};

use crate::{Decoder, MAX_CODINGS, outermost};

const LABELS: [&str; 8] = ["", "gzip", "deflate", "br", "zstd", "br, deflate, zstd", "gzip, gzip, gzip", "klingon"];
const MAX_BYTES: usize = 1 << 16;

/// The first byte picks the label; what follows is the body.
#[test]
fn any_bytes_under_any_label_end_within_the_bound() {
    bolero::check!(name = "codings").with_iterations(2000).with_max_len(2048).for_each(|bytes: &[u8]| {
        let Some((label, body)) = bytes.split_first() else { return };
        let said = LABELS[usize::from(*label) % LABELS.len()];
        let mut decoder = Decoder::new(said, body, MAX_BYTES);
        let taken = decoder.codings().to_vec();
        assert!(taken.len() <= MAX_CODINGS && taken.first().copied() == outermost(said, body), "{taken:?}");
        let (mut plain, mut buffer) = (Vec::new(), [0; 4096]);
        let ended = loop {
            match decoder.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => plain.extend_from_slice(&buffer[..read]),
                Err(error) => break Err(error),
            }
            assert!(plain.len() <= MAX_BYTES, "{} bytes", plain.len());
        };
        match ended {
            Ok(()) if taken.is_empty() => assert!(plain == body),
            Err(error) if taken.is_empty() => assert!(error.kind() == ErrorKind::FileTooLarge, "{error}"),
            Ok(()) | Err(_) => {}
        }
    });
}
