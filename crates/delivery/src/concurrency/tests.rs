//! What becomes of a limit before a PostHog of one kind or another, in a time of its own.

mod world;

use world::{Bears, MAX, Run, World};

const STEADY: World = World { seconds: 0.2, noise: 0.3, bears: Bears::Everything, mixed_sizes: false };

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..6).collect(),
    }
}

/// Runs `world` until `end` with each seed, and demands 90 % of what the best fixed limit gets done.
fn as_good_as_the_best(world: World, deliveries: usize, end: f64) -> Vec<Run> {
    // fewer leave room, and more are refused or wait
    let limits = match world.bears {
        Bears::AtATime(most) | Bears::OrRefuses(most) => vec![most.div_ceil(deliveries), MAX],
        Bears::Everything | Bears::RefusesOneIn(_) => vec![MAX],
    };
    let runs = seeds().into_iter().map(|seed| {
        let run = Run::new(seed, deliveries, world).until(end);
        let fixed = limits.iter().map(|limit| Run::fixed(seed, deliveries, world, *limit).until(end).done());
        let best = fixed.fold(0.0, f64::max);
        assert!(run.done() >= 0.9 * best, "{:.0} of {best:.0}: {}", run.done(), run.story());
        run
    });
    runs.collect()
}

#[test]
fn a_steady_latency_never_lowers_it() {
    for (seconds, end) in [(0.2, 300.0), (1.0, 1_000.0), (5.0, 3_000.0)] {
        for noise in [0.0, 0.1, 0.5] {
            for mixed_sizes in [false, true] {
                let world = World { seconds, noise, mixed_sizes, ..STEADY };
                for run in as_good_as_the_best(world, 2, end) {
                    assert!((0..2).all(|delivery| run.limits(delivery) == [MAX]), "{}", run.story());
                }
            }
        }
    }
}

#[test]
fn requests_that_wait_for_each_other_are_made_fewer_and_no_less_is_done() {
    for (bears, most) in [(2, 8.0), (4, 9.0), (7, 13.0), (11, 16.0)] {
        for (seconds, end) in [(0.2, 600.0), (1.0, 3_000.0)] {
            let world = World { seconds, bears: Bears::AtATime(bears), ..STEADY };
            for run in as_good_as_the_best(world, 1, end) {
                let mean = run.mean_limit(0, end / 4.0);
                assert!((bears as f64 * 0.7..=most).contains(&mean), "{mean:.1} for {bears}: {}", run.story());
            }
        }
    }
}

#[test]
fn several_deliveries_find_it_together() {
    for deliveries in [2, 3] {
        let mut mean = 0.0;
        let mut stories = Vec::new();
        for seconds in [0.1, 0.2, 0.3] {
            let world = World { seconds, bears: Bears::AtATime(8), ..STEADY };
            for run in as_good_as_the_best(world, deliveries, 600.0) {
                mean += (0..deliveries).map(|delivery| run.mean_limit(delivery, 150.0)).sum::<f64>();
                stories.push(run.story());
            }
        }
        mean /= stories.len() as f64;
        // each alone would only leave its part to the others, and stay at the most
        let most = (MAX * deliveries) as f64;
        println!("{deliveries}: {mean} of {most}");
        assert!((6.0..=most * 0.75).contains(&mean), "{mean:.1} of {most}: {stories:#?}");
    }
}

#[test]
fn sizes_that_differ_are_not_mistaken_for_load() {
    for bears in [Bears::AtATime(4), Bears::AtATime(9), Bears::OrRefuses(6)] {
        let world = World { bears, mixed_sizes: true, ..STEADY };
        as_good_as_the_best(world, 1, 300.0);
    }
    // minutes of single events, then minutes of full batches that take ten times as long
    for seed in seeds() {
        let mut run = Run::new(seed, 1, STEADY);
        for minute in 0..20 {
            run.set_small_part(f64::from(minute % 2));
            run.go_until(60.0 * f64::from(minute + 1));
        }
        assert_eq!(run.limits(0), [MAX], "{}", run.story());
    }
}

#[test]
fn refusals_lower_it_to_what_is_taken() {
    for bears in [1, 3, 6, 12] {
        for (seconds, end) in [(0.2, 600.0), (2.0, 3_000.0)] {
            let world = World { seconds, bears: Bears::OrRefuses(bears), ..STEADY };
            for run in as_good_as_the_best(world, 1, end) {
                let (mean, story) = (run.mean_limit(0, end / 4.0), run.story());
                assert!((0.8 * bears as f64..=1.3 * bears as f64).contains(&mean), "{mean:.1} for {bears}: {story}");
                assert!(
                    (run.refused() as f64) < 0.03 * run.asked() as f64 + 40.0,
                    "{} refused: {story}",
                    run.refused()
                );
            }
        }
    }
}

#[test]
fn refusals_that_have_nothing_to_do_with_load_do_little() {
    // one in a thousand, whatever is asked
    let world = World { bears: Bears::RefusesOneIn(1_000), ..STEADY };
    as_good_as_the_best(world, 1, 600.0);
    // all of them for a minute: an outage halves once
    for seed in seeds() {
        let mut run = Run::new(seed, 1, STEADY);
        run.go_until(60.0);
        run.set_world(World { bears: Bears::OrRefuses(0), ..STEADY });
        run.go_until(120.0);
        assert_eq!(run.limits(0), [MAX, MAX / 2], "{}", run.story());
        run.set_world(STEADY);
        run.go_until(180.0);
        assert_eq!(run.limit(0), MAX, "{}", run.story());
    }
}

#[test]
fn a_latency_that_rises_for_good_costs_one_trial() {
    for seed in seeds() {
        let mut run = Run::new(seed, 1, STEADY);
        run.go_until(60.0);
        run.set_world(World { seconds: 5.0, ..STEADY });
        run.go_until(3_600.0);
        let story = run.limits(0);
        assert!(story == [MAX] || story == [MAX, 11, MAX], "{}", run.story());
    }
}

#[test]
fn it_recovers_when_posthog_gets_better() {
    for bears in [Bears::AtATime(4), Bears::OrRefuses(4), Bears::AtATime(1), Bears::OrRefuses(1)] {
        for (seconds, soon) in [(0.2, 180.0), (2.0, 600.0)] {
            for seed in seeds() {
                let mut run = Run::new(seed, 1, World { seconds, ..STEADY });
                run.go_until(100.0 * seconds);
                run.set_world(World { seconds, bears, ..STEADY });
                let bad_until = 100.0 * seconds + 1_000.0 * seconds;
                run.go_until(bad_until);
                assert!(run.mean_limit(0, bad_until * 0.75) < 12.0, "{bears:?}: {}", run.story());
                run.set_world(World { seconds, ..STEADY });
                // what was refused is tried again after ten minutes at the latest
                let soon = if matches!(bears, Bears::OrRefuses(_)) { soon + 600.0 } else { soon };
                run.go_until(bad_until + soon);
                assert_eq!(run.limit(0), MAX, "{bears:?} until {bad_until}: {}", run.story());
            }
        }
    }
}
