//! Compiles the protos with protox (no protoc needed) and keeps the descriptor set for gRPC reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = ["event/v1/event", "transformer/v1/transformer", "delivery/v1/delivery", "journal/v1/journal"]
        .map(|file| root.join(format!("moehog/{file}.proto")));
    println!("cargo::rerun-if-changed={}", root.display());

    let descriptors = protox::compile(&files, [&root])?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        // nearly every verdict is "delivered", and has none
        .boxed(".moehog.delivery.v1.EventVerdict.why")
        .codec_path("crate::BatchCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
