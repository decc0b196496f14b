//! What is made for `helm test` alone.

use super::{
    Check, Faults,
    manifest::{Manifest, text, title},
};

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for object in manifest.objects {
        let test = object["kind"] == "Pod" || object["metadata"]["labels"]["app.kubernetes.io/component"] == "test";
        if !test {
            continue;
        }
        let annotations = &object["metadata"]["annotations"];
        let hook = annotations["helm.sh/hook"] == "test";
        faults.unless(
            hook,
            Check::TestsRunWhenAsked,
            title(object),
            "is installed with the release: it is no hook of `helm test`",
        );
        // a second test must find the name free
        let again =
            text(&annotations["helm.sh/hook-delete-policy"]).split(',').any(|when| when == "before-hook-creation");
        faults.unless(again, Check::TestsRunWhenAsked, title(object), "stands in the way of a second `helm test`");
    }
    let weight = |object: &serde_json::Value| {
        text(&object["metadata"]["annotations"]["helm.sh/hook-weight"]).parse::<i32>().unwrap_or(0)
    };
    for pod in manifest.kind("Pod") {
        let first =
            manifest.kind("NetworkPolicy").filter(|policy| policy["metadata"]["annotations"]["helm.sh/hook"] == "test");
        let well = first.into_iter().all(|policy| weight(policy) < weight(pod));
        faults.unless(well, Check::TestsRunWhenAsked, title(pod), "may run before it is let through");
    }
}
