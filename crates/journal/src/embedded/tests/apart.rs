//! Lanes whose entries lie among those of others.

use super::*;

const BODY: usize = 1_000;

/// Appends so many entries of the lane, each with `others` of other lanes behind it.
fn among_others(log: &Log, entries: usize, others: usize) {
    for number in 0..entries {
        log.append_group(&[pending(format!("{number:0>BODY$}"))]).remove(0).unwrap();
        for other in 0..others {
            log.append_group(&[pending_of(&format!("other{other}"), "o".repeat(BODY))]).remove(0).unwrap();
        }
    }
}

/// Reads the lane: how many entries, bytes read from the disk for it, and bytes of memory that its bodies keep.
fn read_all(disk: &SimulatedDisk, log: &Log, limit: ReadLimit) -> (usize, usize, usize) {
    let (before, mut from, mut entries, mut kept) = (disk.read_bytes(), 0, 0, 0);
    while from <= log.durable() {
        let batch = log.read("s", "d", from, limit).unwrap();
        entries += batch.entries.len();
        from = batch.next;
        for entry in batch.entries {
            assert_eq!(entry.body.len(), BODY);
            // a slice that nobody else has any more says how much is behind it
            kept += entry.body.try_into_mut().map_or(0, |body| body.capacity());
        }
    }
    (entries, (disk.read_bytes() - before) as usize, kept)
}

#[test]
fn what_was_just_appended_is_read_without_what_lies_between() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    among_others(&log, 4, 9);
    for limit in [ALL, ReadLimit { max_bytes: 2 * BODY, ..ALL }] {
        let (entries, read, kept) = read_all(&disk, &log, limit);
        assert_eq!(entries, 4);
        assert!(read <= 4 * (BODY + 300), "{read} bytes read");
        assert!(kept <= 4 * (BODY + 300), "{kept} bytes kept");
    }
}

#[test]
fn what_is_read_of_a_sealed_segment_keeps_nothing_of_others() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    among_others(&log, 12, 31);
    let (entries, read, kept) = read_all(&disk, &log, ALL);
    let whole = 12 * 32 * BODY;
    assert_eq!(entries, 12);
    assert!(read < whole && kept <= 12 * (BODY + 300), "{read} of {whole} bytes read, {kept} kept");
}

#[test]
fn neighbours_are_read_at_once() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    among_others(&log, 300, 0);
    let before = disk.calls_of(Call::Read);
    let (entries, read, _) = read_all(&disk, &log, ALL);
    let calls = disk.calls_of(Call::Read) - before;
    assert_eq!(entries, 300);
    assert!(calls <= 8 && read <= 300 * (BODY + 300), "{calls} calls for {read} bytes");
}
