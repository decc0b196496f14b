use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn failed() -> Ended {
    Ended { reason: Reason::word("server_error"), ..Ended::default() }
}

fn held(probe: bool) -> Ended {
    Ended { probe, hold: Some(Reason::word("wrong_key")), ..Ended::default() }
}

#[test]
fn the_fifth_successive_call_without_a_final_event_opens_the_circuit() {
    let now = Instant::now();
    let mut gate = Gate::new(&Config::default(), now);
    for _ in 0..4 {
        assert_eq!(gate.ended(&failed(), now, 1.0), None);
    }
    assert_eq!(gate.ended(&Ended { taken: 1, ..failed() }, now, 1.0), None);
    for _ in 0..4 {
        assert_eq!(gate.ended(&failed(), now, 1.0), None);
    }
    assert_eq!(gate.ended(&Ended { overloaded: true, ..failed() }, now, 1.0), None);
    assert_eq!(gate.permit(now, false), Permit::Calls);
    assert!(matches!(gate.ended(&failed(), now, 1.0), Some(Change::CircuitOpened(_))));
    assert_eq!(gate.permit(now, false), Permit::Nothing(Some(now + SECOND / 4)));
    assert_eq!(gate.permit(now + SECOND, false), Permit::Probe);
    gate.probing(false, now);
    assert_eq!(gate.permit(now + SECOND, false), Permit::Nothing(None));
    let proof = Ended { probe: true, taken: 1, ..failed() };
    assert_eq!(gate.ended(&proof, now + SECOND, 1.0), Some(Change::CircuitClosed));
    assert_eq!(gate.permit(now + SECOND, false), Permit::Calls);
}

#[test]
fn a_hold_is_told_once_and_only_a_probe_ends_it() {
    let now = Instant::now();
    let mut gate = Gate::new(&Config::default(), now);
    assert_eq!(gate.ended(&held(false), now, 1.0), Some(Change::Held(Reason::word("wrong_key"))));
    assert_eq!(gate.ended(&held(false), now, 1.0), None);
    assert_eq!(gate.ended(&Ended { taken: 9, ..Ended::default() }, now, 1.0), None);
    assert!(!gate.is_open());
    gate.probing(false, now);
    assert_eq!(gate.ended(&held(true), now, 1.0), None);
    assert_eq!(
        gate.permit(now + 3 * SECOND, false),
        Permit::Nothing(Some(now + 4 * SECOND)),
        "the second probe waits longer"
    );
    gate.probing(false, now);
    let proof = Ended { probe: true, taken: 1, ..Ended::default() };
    assert_eq!(gate.ended(&proof, now, 1.0), Some(Change::HoldEnded));
}

#[test]
fn a_hold_ends_too_where_the_destination_judges_an_event_again() {
    let now = Instant::now();
    for judged in [Ended { refused: 1, ..failed() }, Ended { is_by_event: true, ..failed() }] {
        let mut gate = Gate::new(&Config::default(), now);
        gate.ended(&held(false), now, 1.0);
        assert_eq!(gate.ended(&judged, now, 1.0), None, "a call that began before says nothing of now");
        gate.probing(false, now);
        assert_eq!(gate.ended(&Ended { probe: true, ..judged }, now, 1.0), Some(Change::HoldEnded));
        assert!(gate.is_open());
    }
}

#[test]
fn what_refuses_everything_is_held_and_a_few_persons_refused_events_hold_nothing() {
    let now = Instant::now();
    let mut gate = Gate::new(&Config::default(), now);
    let refused = |refused, refuses_everything| Ended { refused, refuses_everything, ..failed() };
    for _ in 0..20 {
        assert_eq!(gate.ended(&refused(2, false), now, 1.0), None);
    }
    gate.ended(&Ended { taken: 1, ..Ended::default() }, now, 1.0);
    assert!(gate.is_open() && gate.probe_events() == 1);
    assert_eq!(gate.ended(&refused(8, true), now, 1.0), None);
    let change = gate.ended(&refused(8, true), now, 1.0);
    assert!(matches!(&change, Some(Change::Held(reason)) if reason.code == "refuses_everything"), "{change:?}");
    assert_eq!(gate.permit(now + 2 * SECOND, false), Permit::Probe);
    assert_eq!(gate.probe_events(), 8);
    gate.probing(false, now);
    gate.ended(&Ended { probe: true, ..refused(8, true) }, now, 1.0);
    // what is new is looked at in between, and puts nothing off
    let probe_at = now + 4 * SECOND;
    assert_eq!(gate.permit(now + SECOND, true), Permit::Nothing(Some(now + 2 * SECOND)));
    assert_eq!(gate.permit(now + 2 * SECOND, false), Permit::Nothing(Some(probe_at)));
    assert_eq!(gate.permit(now + 2 * SECOND, true), Permit::Look);
    gate.probing(true, now + 2 * SECOND);
    gate.ended(&Ended { probe: true, ..refused(1, true) }, now + 2 * SECOND, 1.0);
    assert_eq!(gate.permit(now + 3 * SECOND, false), Permit::Nothing(Some(probe_at)));
    assert_eq!(gate.permit(probe_at, true), Permit::Probe);
    let proof = Ended { probe: true, taken: 1, refused: 7, ..Ended::default() };
    assert_eq!(gate.ended(&proof, now, 1.0), Some(Change::HoldEnded));
    assert_eq!(gate.probe_events(), 1);
    // it takes some of it: more is tried before it is held again
    (0..3).for_each(|_| assert_eq!(gate.ended(&refused(8, true), now, 1.0), None));
    assert!(matches!(gate.clone().ended(&refused(8, true), now, 1.0), Some(Change::Held(_))));
    assert!(matches!(gate.ended(&refused(8, true), now + MIXED_FOR, 1.0), Some(Change::Held(_))));
}

#[test]
fn an_open_circuit_becomes_a_hold_where_everything_is_refused() {
    let now = Instant::now();
    let mut gate = Gate::new(&Config { circuit_after: 1, ..Config::default() }, now);
    gate.ended(&failed(), now, 1.0);
    gate.probing(false, now);
    let refused = Ended { probe: true, refused: 1, refuses_everything: true, ..failed() };
    let mut other = gate.clone();
    assert!(matches!(gate.ended(&refused, now, 1.0), Some(Change::Held(_))));
    // it judges events: that of one is refused says nothing of others
    let judged = Ended { refuses_everything: false, ..refused };
    assert_eq!(other.ended(&judged, now, 1.0), Some(Change::CircuitClosed));
}

#[test]
fn retry_after_is_a_minimum_for_the_next_probe() {
    let now = Instant::now();
    let mut gate = Gate::new(&Config { circuit_after: 1, ..Config::default() }, now);
    gate.ended(&Ended { least: 60 * SECOND, ..failed() }, now, 0.0);
    assert_eq!(gate.permit(now + 59 * SECOND, false), Permit::Nothing(Some(now + 60 * SECOND)));
}

#[test]
fn the_trying_clock_stands_while_held_or_broken() {
    let now = Instant::now();
    let mut gate = Gate::new(&Config { circuit_after: 1, ..Config::default() }, now);
    gate.ended(&held(false), now + 5 * SECOND, 1.0);
    assert_eq!(gate.clock(now + 1000 * SECOND), 5 * SECOND);
    gate.ended(&Ended { probe: true, taken: 1, ..Ended::default() }, now + 1000 * SECOND, 1.0);
    gate.ended(&failed(), now + 1002 * SECOND, 1.0);
    assert_eq!(gate.clock(now + 5000 * SECOND), 7 * SECOND);
}

#[test]
fn the_clock_runs_while_a_circuit_is_open_for_what_may_be_an_events_doing() {
    let now = Instant::now();
    let mut gate = Gate::new(&Config { circuit_after: 1, ..Config::default() }, now);
    let lone = |probe| Ended { probe, is_by_event: true, ..failed() };
    assert!(matches!(gate.ended(&lone(false), now, 1.0), Some(Change::CircuitOpened(_))));
    assert_eq!(gate.clock(now + 10 * SECOND), 10 * SECOND);
    // then the events of others fail too, and then not
    gate.ended(&Ended { probe: true, ..failed() }, now + 10 * SECOND, 1.0);
    assert_eq!(gate.clock(now + 90 * SECOND), 10 * SECOND);
    gate.ended(&lone(true), now + 90 * SECOND, 1.0);
    assert_eq!(gate.clock(now + 91 * SECOND), 11 * SECOND);
}

proptest! {
    #[test]
    fn the_clock_never_runs_backwards_nor_faster_than_time_and_a_probe_always_comes(
        calls in proptest::collection::vec((0..7_u8, 0..4_u64, any::<bool>()), 1..60),
    ) {
        let config = Config::default();
        let mut now = Instant::now();
        let mut gate = Gate::new(&config, now);
        let mut clock = gate.clock(now);
        for (kind, seconds, news) in calls {
            let later = now + Duration::from_secs(seconds);
            let next = gate.clock(later);
            prop_assert!(next >= clock && next - clock <= later - now);
            (now, clock) = (later, next);
            let permit = gate.permit(now, news);
            let probe = matches!(permit, Permit::Probe | Permit::Look);
            if probe {
                gate.probing(permit == Permit::Look, now);
            }
            let call = match kind {
                0 => Ended { taken: 1, ..Ended::default() },
                1 => held(false),
                2 => Ended { overloaded: true, ..failed() },
                3 => Ended { is_by_event: true, ..failed() },
                4 => Ended { refused: 8, refuses_everything: true, ..failed() },
                _ => failed(),
            };
            gate.ended(&Ended { probe, ..call }, now, 0.5);
            match gate.permit(now, false) {
                Permit::Calls | Permit::Probe => {}
                Permit::Look => prop_assert!(false, "nothing is new"),
                Permit::Nothing(at) => {
                    let at = at.expect("nothing is under way, so a probe must have its time");
                    prop_assert!(at <= now + config.hold_probe_max);
                    prop_assert_eq!(gate.permit(at, false), Permit::Probe);
                }
            }
        }
    }
}

#[test]
fn an_open_circuit_says_how_the_destination_fails_now() {
    let now = Instant::now();
    let mut gate = Gate::new(&Config { circuit_after: 1, ..Config::default() }, now);
    let failed_by = |code: &str| Ended { probe: true, reason: Reason::word(code), ..Ended::default() };
    let says = |gate: &Gate| match gate.state() {
        GateState::CircuitOpen { reason } => reason.code.clone(),
        other => panic!("{other:?}"),
    };
    assert!(gate.ended(&failed_by("no_connection"), now, 1.0).is_some());
    assert_eq!(says(&gate), "no_connection");
    gate.probing(false, now);
    assert_eq!(gate.ended(&failed_by("busy"), now, 1.0), None, "no second line in the log");
    assert_eq!(says(&gate), "busy");
    let overloaded = Ended { overloaded: true, ..failed_by("overloaded") };
    assert_eq!(gate.ended(&overloaded, now, 1.0), None);
    assert_eq!(says(&gate), "busy", "it is no doing of the destination");
    assert_eq!(gate.ended(&Ended { probe: true, ..Ended::default() }, now, 1.0), None);
    assert_eq!(says(&gate), "busy", "nothing was tried");
}
