//! Disruption budgets.

use super::{
    Check, Faults,
    manifest::{Manifest, title},
};

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for budget in manifest.kind("PodDisruptionBudget") {
        let spec = &budget["spec"];
        let one = spec["maxUnavailable"] == 1 && spec.get("minAvailable").is_none();
        faults.unless(one, Check::BudgetsHaveOneLimit, title(budget), "lets other than one pod go at a time");
        // a pod that does not work must not keep a node from being emptied
        let sick = spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        faults.unless(sick, Check::BudgetsHaveOneLimit, title(budget), "keeps pods that do not work");
    }
    for pod in manifest.workloads() {
        let budgets = manifest.kind("PodDisruptionBudget");
        let own = budgets.filter(|budget| pod.has(&budget["spec"]["selector"]["matchLabels"])).count();
        faults.unless(own == 1, Check::BudgetsHaveOneLimit, pod.title(), format!("has {own} budgets"));
    }
}
