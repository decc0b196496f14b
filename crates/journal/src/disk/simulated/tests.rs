use std::collections::BTreeSet;

use super::*;

fn content(disk: &SimulatedDisk, name: &str) -> Vec<u8> {
    disk.content(name).unwrap()
}

#[test]
fn the_simulated_disk_keeps_the_promises_of_the_trait() {
    super::super::check::keeps_the_promises_of_the_trait(&SimulatedDisk::new(1));
}

#[test]
fn what_was_synced_survives_a_power_cut_and_what_was_written_survives_a_kill() {
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed);
        let file = disk.create("a").unwrap();
        file.write_at(&[1; 3000], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        disk.reboot(Death::PowerCut);
        assert_eq!(content(&disk, "a"), [1; 3000], "seed {seed}");
        disk.open("a").unwrap().write_at(&[2; 3000], 1000).unwrap();
        disk.reboot(Death::Kill);
        assert_eq!(content(&disk, "a")[..1000], [1; 1000], "seed {seed}");
        assert_eq!(content(&disk, "a")[1000..], [2; 3000], "seed {seed}");
    }
}

/// Each outcome of a power cut that the journal must bear comes for some seed.
#[test]
fn a_power_cut_keeps_any_subset_of_sectors_and_tears_some() {
    let (mut outcomes, mut sizes, mut torn) = (BTreeSet::new(), BTreeSet::new(), 0);
    for seed in 0..2000 {
        let disk = SimulatedDisk::new(seed);
        let file = disk.create("a").unwrap();
        file.write_at(&[1; 3 * 512], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[2; 3 * 512], 0).unwrap();
        file.write_at(&[3; 512], 3 * 512).unwrap();
        disk.reboot(Death::PowerCut);
        let after = content(&disk, "a");
        sizes.insert(after.len());
        if after[..3 * 512].chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])) {
            outcomes.insert([after[0], after[512], after[1024]]);
        } else {
            torn += 1;
        }
    }
    assert_eq!(outcomes.len(), 8, "every subset of three sectors: {outcomes:?}");
    assert_eq!(sizes, BTreeSet::from([3 * 512, 4 * 512]));
    assert!(torn > 20, "{torn}");
}

#[test]
fn a_power_cut_keeps_any_subset_of_unsynced_names() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..500 {
        let disk = SimulatedDisk::new(seed);
        disk.create("old").unwrap();
        disk.create("gone").unwrap();
        disk.sync_dir().unwrap();
        disk.create("new").unwrap();
        disk.rename("old", "renamed").unwrap();
        disk.remove("gone").unwrap();
        disk.reboot(Death::PowerCut);
        outcomes.insert(disk.list().unwrap());
    }
    assert_eq!(outcomes.len(), 8, "{outcomes:?}");
}

#[test]
fn after_a_failed_sync_a_later_one_says_nothing_of_what_was_dropped() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let disk = SimulatedDisk::new(seed);
        let file = disk.create("a").unwrap();
        file.write_at(&[1; 512], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[2; 512], 0).unwrap();
        disk.fail(Call::SyncData, 0, 1);
        file.sync_data().unwrap_err();
        let seen = content(&disk, "a")[0];
        file.sync_data().unwrap();
        disk.reboot(Death::PowerCut);
        outcomes.insert((seen, content(&disk, "a")[0]));
    }
    assert_eq!(outcomes, BTreeSet::from([(1, 1), (2, 1), (2, 2)]));
}

#[test]
fn a_full_disk_writes_what_fits_and_works_again_with_room() {
    let disk = SimulatedDisk::new(1);
    let file = disk.create("a").unwrap();
    disk.limit(Some(100));
    assert_eq!(file.write_at(&[1; 150], 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 100);
    assert_eq!(file.allocate(101).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.create("b").unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_at(&[2; 50], 20).unwrap();
    disk.limit(None);
    file.write_at(&[1; 150], 0).unwrap();
    disk.limit(Some(0));
    disk.remove("a").unwrap();
    disk.create("b").unwrap().write_at(&[1; 150], 0).unwrap();
}

#[test]
fn the_process_dies_within_the_named_call_and_every_later_one_fails_until_the_reboot() {
    let mut lengths = BTreeSet::new();
    for seed in 0..300 {
        let disk = SimulatedDisk::new(seed);
        let lock = disk.lock().unwrap();
        let file = disk.create("a").unwrap();
        disk.crash_after(1);
        file.write_at(&[1; 3], 0).unwrap();
        file.write_at(&[1; 3], 3).unwrap_err();
        assert!(disk.crashed());
        file.sync_data().unwrap_err();
        disk.list().unwrap_err();
        disk.reboot(Death::Kill);
        assert!(file.len().is_err(), "a handle of the dead process is refused");
        let _lock = disk.lock().unwrap();
        drop(lock);
        assert_eq!(disk.lock().err().unwrap().kind(), io::ErrorKind::WouldBlock);
        lengths.insert(content(&disk, "a").len());
    }
    assert_eq!(lengths, BTreeSet::from([3, 4, 5, 6]));
}

#[test]
fn calls_hang_until_released_or_until_the_process_dies() {
    let disk = SimulatedDisk::new(1);
    let file = disk.create("a").unwrap();
    disk.hang(Call::SyncData);
    let ends = |death: Option<Death>| {
        let hung = file.clone();
        let call = std::thread::spawn(move || hung.sync_data());
        while disk.waiting() == 0 {
            std::thread::yield_now();
        }
        file.write_at(b"others go on", 0).unwrap();
        death.map_or_else(|| disk.release(), |death| disk.reboot(death));
        call.join().unwrap()
    };
    ends(None).unwrap();
    disk.hang(Call::SyncData);
    ends(Some(Death::Kill)).unwrap_err();
}

#[test]
fn two_disks_of_one_seed_do_the_same() {
    let run = || {
        let disk = SimulatedDisk::new(7);
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        for round in 0..20 {
            file.write_at(&[round; 700], u64::from(round) * 300).unwrap();
            if round == 10 {
                file.sync_data().unwrap();
            }
        }
        disk.reboot(Death::PowerCut);
        content(&disk, "a")
    };
    assert_eq!(run(), run());
}
