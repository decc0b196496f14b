//! What the last releases said must be understood by this build, and the other way round: between services of two versions, and on disk.

mod compatibility {
    pub(crate) mod compare;
}

use std::{fs, path::Path};

use prost::Message;
use prost_types::FileDescriptorSet;

use compatibility::compare::breaks;

fn today() -> FileDescriptorSet {
    FileDescriptorSet::decode(moehog_proto::DESCRIPTORS).expect("the protos of this build")
}

#[test]
fn nothing_that_a_release_said_is_gone_or_means_something_else() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut releases = 0;
    for file in fs::read_dir(&proto).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "binpb") {
            let release = FileDescriptorSet::decode(&*fs::read(&file).unwrap()).unwrap();
            let broken = breaks(&release, &today());
            assert!(broken.is_empty(), "not what {} says:\n{}", file.display(), broken.join("\n"));
            releases += 1;
        }
    }
    assert!(releases > 0, "no descriptor of a release in {}", proto.display());
}

#[test]
fn the_descriptor_of_a_release_has_every_package() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/0.1.binpb");
    let release = FileDescriptorSet::decode(&*fs::read(file).unwrap()).unwrap();
    let packages: Vec<_> = release.file.iter().map(|file| file.package().to_string()).collect();
    let wanted = ["moehog.event.v1", "moehog.transformer.v1", "moehog.delivery.v1", "moehog.journal.v1"];
    assert!(wanted.iter().all(|wanted| packages.iter().any(|package| package == wanted)), "{packages:?}");
}
