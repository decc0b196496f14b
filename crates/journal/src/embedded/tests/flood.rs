//! What the log says of a flood.

use super::*;
use crate::embedded::simulation::Lines;

/// How many dead letters each line says to be gone.
fn dropped(lines: &Lines) -> Vec<u64> {
    let said = lines.take().into_iter();
    said.map(|line| {
        assert!(line.starts_with("dead letters past journal.dead_letter_retention"), "{line}");
        let (_, after) = line.split_once(" dropped=").unwrap();
        after.split(' ').next().unwrap().parse().unwrap()
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_dead_letters_is_said_once_a_minute_and_each_that_is_gone_is_counted() {
    let disk = SimulatedDisk::new(1);
    let log = open_roomy(&disk);
    let lines = Lines::new(false);
    let _guard = tracing::subscriber::set_default(lines.clone());
    for number in 0..4000 {
        let receipt = append(&log, format!("{number:0>400}")).unwrap();
        log.record(1, vec![record_of(receipt.sequence, EventState::Dead, true)]).unwrap();
        if number % 100 == 0 {
            log.maintain();
        }
    }
    let first = dropped(&lines);
    assert_eq!(first.len(), 1, "{first:?}");
    tokio::time::advance(Duration::from_secs(60)).await;
    log.maintain();
    let second = dropped(&lines);
    assert_eq!(second.len(), 1, "{second:?}");
    assert_eq!(first[0] + second[0], log.stats().dead_letters_dropped);
    tokio::time::advance(Duration::from_secs(60)).await;
    log.maintain();
    assert_eq!(dropped(&lines), [0; 0], "none has gone since");
}
