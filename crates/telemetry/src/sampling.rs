//! Which traces are recorded, by the standard variables.
//!
//! Source: OpenTelemetry, "Environment Variable Specification", `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.

/// What part of the traces that begin here is recorded, and whether a caller's decision is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampling {
    /// Part of new traces, 0 to 1.
    ratio: f64,
    /// Follow a decision that came with the request.
    parent_based: bool,
}

impl Sampling {
    /// Reads the variables through `variable`; every trace is recorded by default, and a caller's decision is followed.
    pub(crate) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let name = variable("OTEL_TRACES_SAMPLER").unwrap_or_default();
        let (parent_based, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (name.is_empty(), name.as_str()),
        };
        let ratio = match kind {
            "always_off" => 0.0,
            "traceidratio" => variable("OTEL_TRACES_SAMPLER_ARG")
                .and_then(|text| text.parse().ok())
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .unwrap_or(1.0),
            _ => 1.0,
        };
        Self { ratio, parent_based }
    }

    /// Whether the trace is recorded. `parent` is the caller's decision, where there is a caller.
    pub(crate) fn records(&self, trace_id: u128, parent: Option<bool>) -> bool {
        match parent {
            Some(decision) if self.parent_based => decision,
            // the low 63 bits are random in every trace id
            _ => (trace_id as u64 >> 1) < (self.ratio * (1_u64 << 63) as f64) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(name: &'static str, argument: &'static str) -> Sampling {
        Sampling::from_variables(move |variable| match variable {
            "OTEL_TRACES_SAMPLER" if !name.is_empty() => Some(name.to_string()),
            "OTEL_TRACES_SAMPLER_ARG" if !argument.is_empty() => Some(argument.to_string()),
            _ => None,
        })
    }

    #[test]
    fn a_callers_decision_is_followed_unless_the_sampler_says_otherwise() {
        assert!(!sampling("", "").records(7, Some(false)));
        assert!(sampling("", "").records(u128::MAX, None));
        assert!(sampling("parentbased_always_off", "").records(7, Some(true)));
        assert!(!sampling("always_off", "").records(7, Some(true)));
        assert!(sampling("always_on", "").records(u128::MAX, Some(false)));
    }

    #[test]
    fn a_ratio_takes_its_part() {
        let tenth = sampling("traceidratio", "0.1");
        let taken = (0..10_000_u64).filter(|i| {
            let id = u128::from(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            tenth.records(id, None)
        });
        assert!((800..1200).contains(&taken.count()));
    }
}
