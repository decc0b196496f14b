//! Whether a project owns the key is found out before anything is sent.

mod common;

use std::{collections::BTreeMap, time::Duration};

use common::*;
use moehog_emulator::posthog::{self, Action, Rule};

#[tokio::test]
async fn a_key_of_the_other_region_is_held_and_the_region_named() {
    let (us, eu) = (start(posthog::Config::with_keys(["phc_us"])), start(posthog::Config::with_keys([KEY])));
    let mut config = config(&us.url());
    config.posthog.regions =
        BTreeMap::from([("us".to_string(), us.url().parse().unwrap()), ("eu".to_string(), eu.url().parse().unwrap())]);
    config.destinations.insert("other".to_string(), destination("phc_us"));
    config.destinations.insert("nobody".to_string(), destination("phc_nobody"));
    let client = client(&config);

    let response = deliver(&client, "shop", &events(3)).await;
    assert_eq!(words(&response), ["hold"; 3]);
    let reason = reason(&response.verdicts[0]);
    assert!(reason.starts_with("wrong_key: ") && reason.contains("one in region eu does"), "{reason}");
    assert!(reason.contains(&eu.url()) && !reason.contains(KEY), "{reason}");
    assert!(response.answers.is_empty() && !response.verdicts[0].sent);

    assert_eq!(words(&deliver(&client, "other", &events(1)).await), ["delivered"], "its neighbour flows");
    let response = deliver(&client, "nobody", &events(1)).await;
    assert!(common::reason(&response.verdicts[0]).contains("no project in any of PostHog's regions"));
    assert_eq!((us.books().exchanges().len(), eu.books().exchanges().len()), (1, 0));
}

#[tokio::test]
async fn a_self_hosted_posthog_that_does_not_know_the_key_is_believed_and_no_other_asked() {
    let (own, region) = (start(posthog::Config::with_keys(["phc_else"])), posthog());
    let mut config = config(&own.url());
    config.posthog.regions = BTreeMap::from([("us".to_string(), region.url().parse().unwrap())]);
    let response = deliver(&client(&config), "shop", &events(1)).await;
    assert!(reason(&response.verdicts[0]).contains("no project at http://127.0.0.1"), "{response:?}");
    assert_eq!(region.books().counts().flags_requests, 0);
}

#[tokio::test]
async fn a_held_destination_flows_once_the_key_is_known() {
    let posthog = start(posthog::Config::with_keys(["phc_else"]));
    let mut config = config(&posthog.url());
    config.posthog.key_check_retry = Duration::from_millis(50);
    let client = client(&config);
    assert_eq!(words(&deliver(&client, "shop", &events(1)).await), ["hold"]);
    // a check that is not answered does not undo a clear no
    posthog.faults().add(Rule::status(503).on("/flags").named("flags"));
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(words(&deliver(&client, "shop", &events(1)).await), ["hold"]);
    posthog.faults().remove("flags");
    posthog.add_key(KEY);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(words(&deliver(&client, "shop", &events(1)).await), ["delivered"]);
}

#[tokio::test]
async fn a_key_that_cannot_be_verified_makes_delivered_degraded_until_it_can() {
    let page = Action::Answer { status: 200, body: "<html>welcome</html>".into(), retry_after: None };
    for action in [Rule::status(404).then, Rule::status(503).then, Action::Hang, page] {
        let posthog = posthog();
        let mut config = config(&posthog.url());
        config.posthog.key_check_timeout = Duration::from_millis(200);
        config.posthog.key_check_retry = Duration::from_millis(100);
        let client = client(&config);
        posthog.faults().add(Rule::always(action.clone()).on("/flags"));
        posthog.faults().add(Rule::always(action.clone()).on("/decide"));
        let response = deliver(&client, "shop", &events(2)).await;
        assert_eq!(words(&response), ["degraded"; 2], "{action:?}");
        assert_eq!(reason(&response.verdicts[0]), "unverified_key");
        posthog.faults().clear();
        tokio::time::sleep(Duration::from_millis(110)).await;
        assert_eq!(words(&deliver(&client, "shop", &events(2)).await), ["delivered"; 2], "{action:?}");
    }
}

#[tokio::test]
async fn a_posthog_that_is_too_old_for_flags_is_asked_at_decide() {
    for (keys, expected) in [([KEY], "delivered"), (["phc_else"], "hold")] {
        let posthog = start(posthog::Config { flags: false, ..posthog::Config::with_keys(keys) });
        let response = deliver(&client(&config(&posthog.url())), "shop", &events(1)).await;
        assert_eq!(words(&response), [expected]);
        assert_eq!(posthog.books().unique(), u64::from(expected == "delivered"));
    }
}

#[tokio::test]
async fn many_calls_ask_once_and_again_only_when_it_is_time() {
    let posthog = posthog();
    let mut config = config(&posthog.url());
    config.posthog.key_check_every = Duration::from_millis(500);
    let client = client(&config);
    posthog.faults().add(Rule::always(Action::Delay { ms: 50 }).on("/flags"));
    let sent = events(1);
    let calls = futures::future::join_all((0..12).map(|_| deliver(&client, "shop", &sent))).await;
    assert!(calls.iter().all(|response| words(response) == ["delivered"]));
    assert_eq!(posthog.books().counts().flags_requests, 1);
    tokio::time::sleep(Duration::from_millis(510)).await;
    deliver(&client, "shop", &sent).await;
    assert_eq!(posthog.books().counts().flags_requests, 2);
}

#[tokio::test]
async fn a_renewed_check_holds_up_no_call_but_its_own() {
    let posthog = posthog();
    let mut config = config(&posthog.url());
    config.posthog.key_check_every = Duration::from_millis(10);
    config.posthog.key_check_timeout = Duration::from_secs(5);
    let client = client(&config);
    let sent = events(1);
    deliver(&client, "shop", &sent).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    posthog.faults().add(Rule::always(Action::Hang).on("/flags"));
    let renewing = tokio::spawn({
        let (client, sent) = (client.clone(), sent.clone());
        async move { deliver(&client, "shop", &sent).await }
    });
    let asked_again = async {
        while posthog.books().counts().flags_requests < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), asked_again).await.expect("the check is renewed");
    let other = tokio::time::timeout(Duration::from_secs(2), deliver(&client, "shop", &sent)).await;
    assert_eq!(words(&other.expect("goes on with what is known")), ["delivered"]);
    renewing.abort();
}

#[tokio::test]
async fn verification_can_be_turned_off() {
    let posthog = start(posthog::Config::with_keys(["phc_else"]));
    let mut config = config(&posthog.url());
    config.posthog.verify_key = false;
    assert_eq!(words(&deliver(&client(&config), "shop", &events(1)).await), ["delivered"]);
    assert_eq!(posthog.books().counts().flags_requests, 0);
    assert_eq!(posthog.books().unique(), 0, "and this is what it costs");
}

#[tokio::test]
async fn a_destination_without_a_key_or_a_name_nobody_knows_is_held_with_the_remedy() {
    let posthog = posthog();
    let mut config = config(&posthog.url());
    config.destinations.clear();
    let client = client(&config);
    for (name, remedy) in [("default", "set destinations.default.api_key"), ("gone", "[destinations.gone]")] {
        let response = deliver(&client, name, &events(2)).await;
        assert_eq!(words(&response), ["hold"; 2]);
        assert!(reason(&response.verdicts[0]).contains(remedy), "{}", reason(&response.verdicts[0]));
    }
    assert_eq!(words(&deliver(&client, "key:phc_test", &events(2)).await), ["delivered"; 2]);
    assert_eq!(words(&deliver(&client, "shop", &[]).await), [""; 0]);
}
