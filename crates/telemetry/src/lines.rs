//! Log lines.

use std::fmt;

use opentelemetry::{Context, trace::TraceContextExt};
use serde::Deserialize;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    field::{RecordFields, VisitOutput},
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{DefaultVisitor, Format, Json, Writer},
        layer,
    },
    layer::Context as Scope,
    registry::LookupSpan,
};

use crate::terminal::{shown, shown_json};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}

/// Writes events as lines, and says for the whole process what is enabled: events that `wanted` lets through, and the spans
/// of moehog's own crates where `spans` are exported.
///
/// It stands in place of a filter for each layer, which would look up each span anew for all that happens to it. Lines hold
/// nothing of the spans that they lie in but their ids: the rest stands in the trace, and formatted for lines too it would
/// cost more than the spans do.
pub(crate) struct Lines<S> {
    write: Box<dyn Layer<S> + Send + Sync>,
    wanted: Targets,
    spans: bool,
}

impl<S> Lines<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    pub(crate) fn new<W>(format: LogFormat, writer: W, wanted: Targets, spans: bool) -> Self
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let write = match format {
            LogFormat::Json => layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .map_event_format(InTrace)
                .with_writer(writer)
                .boxed(),
            LogFormat::Text => layer().with_target(false).fmt_fields(ShownFields).with_writer(writer).boxed(),
        };
        Self { write, wanted, spans }
    }
}

impl<S: Subscriber> Layer<S> for Lines<S> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Scope<'_, S>) -> bool {
        if metadata.is_span() {
            self.spans && metadata.target().starts_with("moehog") && *metadata.level() <= Level::INFO
        } else {
            self.wanted.would_enable(metadata.target(), metadata.level())
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let spans = if self.spans { LevelFilter::INFO } else { LevelFilter::OFF };
        Layer::<S>::max_level_hint(&self.wanted).map(|wanted| wanted.max(spans))
    }

    fn on_event(&self, event: &Event<'_>, scope: Scope<'_, S>) {
        self.write.on_event(event, scope);
    }
}

/// JSON: `timestamp`, `level`, the event's own fields, `target`, and within a recorded trace its `trace_id` and `span_id`.
struct InTrace(Format<Json>);

impl<S, N> FormatEvent<S, N> for InTrace
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, scope: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(scope, Writer::new(&mut line), event)?;
        // the serializer leaves C1 and what turns the direction of text as they are
        let line = shown_json(&line);
        let current = Context::current();
        let trace = current.span().span_context().clone();
        if !trace.is_sampled() {
            return writer.write_str(&line);
        }
        let object = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(writer, r#"{object},"trace_id":"{}","span_id":"{}"}}"#, trace.trace_id(), trace.span_id())
    }
}

/// Text: message and fields of which a terminal obeys nothing, and which stay on their line. Colours are put around them.
struct ShownFields;

impl<'writer> FormatFields<'writer> for ShownFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut values = ShownValues(DefaultVisitor::new(writer, true));
        fields.record(&mut values);
        values.0.finish()
    }
}

/// Hands on each value as it is shown.
struct ShownValues<'writer>(DefaultVisitor<'writer>);

impl Visit for ShownValues<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.record_debug(field, &format_args!("{}", shown(&format!("{value:?}"))));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex, PoisonError},
    };

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use serde_json::Value;
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `work` writes.
    fn written(format: LogFormat, wanted: &str, spans: bool, work: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let lines = Lines::new(format, move || writer.clone(), wanted.parse().unwrap(), spans);
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines).with(layer), work);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines of JSON that `work` writes.
    fn lines(wanted: &str, spans: bool, work: impl FnOnce()) -> Vec<Value> {
        let text = written(LogFormat::Json, wanted, spans, work);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What a terminal obeys, and a line that looks like one of ours.
    const HOSTILE: &str = "a\u{1b}[31m\u{9b}2J\u{7f}\u{202e}b\u{2028}\r\nERROR forged";

    fn log_what_is_hostile() {
        let error = io::Error::other(HOSTILE);
        tracing::warn!(shown = %HOSTILE, debugged = ?HOSTILE, given = HOSTILE, error = &error as &dyn std::error::Error, "{HOSTILE}");
    }

    #[test]
    fn what_others_wrote_stays_on_its_line_of_text_and_moves_no_terminal() {
        let text = written(LogFormat::Text, "info", false, log_what_is_hostile);
        let own_colours = ["0", "2", "3", "33"].map(|colour| format!("\u{1b}[{colour}m"));
        let plain = own_colours.iter().fold(text, |text, colour| text.replace(colour, ""));
        let line = plain.strip_suffix('\n').unwrap();
        assert!(!line.contains(|character| shown(&String::from(character)) != String::from(character)), "{line:?}");
        let shown = r"a\u001b[31m\u009b2J\u007f\u202eb\u2028\r\nERROR forged";
        assert!(line.contains(&format!(" WARN {shown} shown={shown} debugged=")), "{line:?}");
        assert!(line.ends_with(&format!(" error={shown}")), "{line:?}");
    }

    #[test]
    fn what_others_wrote_is_the_same_value_in_a_line_of_json_and_moves_no_terminal() {
        for spans in [false, true] {
            let text = written(LogFormat::Json, "info", spans, || info_span!("work").in_scope(log_what_is_hostile));
            let line = text.strip_suffix('\n').unwrap();
            assert_eq!(shown(line), line);
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["message"], &line["shown"]), (&HOSTILE.into(), &HOSTILE.into()));
        }
    }

    #[test]
    fn a_line_within_a_recorded_trace_names_it() {
        let mut ids = None;
        let lines = lines("info", true, || {
            let span = info_span!("work", secret = "field of a span");
            let context = crate::trace::context(&span, None).unwrap();
            ids = Some((context.trace_id_text(), format!("{:016x}", context.span_id)));
            span.in_scope(|| tracing::warn!(reason = "a \"quoted\" one}", "within"));
            tracing::info!("without");
        });
        let (trace_id, span_id) = ids.unwrap();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!((&lines[0]["trace_id"], &lines[0]["span_id"]), (&trace_id.into(), &span_id.into()));
        assert_eq!((&lines[0]["message"], &lines[0]["reason"]), (&"within".into(), &"a \"quoted\" one}".into()));
        assert_eq!((&lines[0]["level"], &lines[0]["target"]), (&"WARN".into(), &module_path!().into()));
        assert!(!lines[0].to_string().contains("field of a span"), "{}", lines[0]);
        assert!(lines[1].get("trace_id").is_none(), "{}", lines[1]);
    }

    #[test]
    fn what_is_logged_is_asked_by_target_and_spans_of_others_are_not_made() {
        let lines = lines("warn,moehog_relay=debug", true, || {
            tracing::debug!(target: "moehog_relay::lane", "of the relay");
            tracing::info!(target: "moehog_gateway", "of the gateway");
            assert!(info_span!(target: "hyper", "of others").is_disabled());
            assert!(tracing::debug_span!("too fine").is_disabled());
            assert!(!info_span!("ours").is_disabled());
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["message"], "of the relay");
    }

    #[test]
    fn without_a_collector_no_span_is_made() {
        assert!(lines("trace", false, || assert!(info_span!("ours").is_disabled())).is_empty());
    }
}
