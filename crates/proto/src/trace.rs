//! W3C trace context as text.
//!
//! Source: W3C, "Trace Context" (level 1), `traceparent` header.

use crate::event::TraceContext;

impl TraceContext {
    /// Reads a `traceparent` header; none where it is malformed or all zero.
    #[must_use]
    pub fn from_traceparent(text: &str) -> Option<Self> {
        let text = text.trim();
        let (version, rest) = text.split_once('-')?;
        let (trace, rest) = rest.split_once('-')?;
        let (span, rest) = rest.split_once('-')?;
        let flags = rest.get(..2)?;
        let later_fields_fit = rest.len() == 2 || (version != "00" && rest.as_bytes()[2] == b'-');
        let lengths_fit = version.len() == 2 && trace.len() == 32 && span.len() == 16 && later_fields_fit;
        if !lengths_fit || version == "ff" || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-')) {
            return None;
        }
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let context = Self {
            trace_id_high: hex(&trace[..16])?,
            trace_id_low: hex(&trace[16..])?,
            span_id: hex(span)?,
            flags: u32::from_str_radix(flags, 16).ok()?,
            tracestate: String::new(),
        };
        let zero = context.trace_id() == 0 || context.span_id == 0;
        (!zero).then_some(context)
    }

    /// The text of a `traceparent` header.
    #[must_use]
    pub fn to_traceparent(&self) -> String {
        format!("00-{}-{:016x}-{:02x}", self.trace_id_text(), self.span_id, self.flags & 0xff)
    }

    /// The 128-bit trace id.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        (u128::from(self.trace_id_high) << 64) | u128::from(self.trace_id_low)
    }

    /// The trace id as 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id_text(&self) -> String {
        format!("{:032x}", self.trace_id())
    }

    /// Whether spans of this trace are recorded.
    #[must_use]
    pub fn sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_survives_and_a_malformed_one_is_refused() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::from_traceparent(text).unwrap();
        assert_eq!(context.to_traceparent(), text);
        assert!(context.sampled());
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceContext::from_traceparent(bad), None, "{bad}");
        }
    }
}
