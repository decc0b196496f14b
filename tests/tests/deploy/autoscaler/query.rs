//! As much of PromQL as an autoscaler's query needs, over the samples of one scrape.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::{Context, bail, ensure};
use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{self, AggregateExpr, BinaryExpr, Expr, LabelModifier, VectorSelector},
};

/// Labels of a series, its name left out.
type Labels = BTreeMap<String, String>;

/// One series' value.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

/// The samples of a scrape, with what the scrape itself adds to their labels.
pub(super) fn samples(metrics: &str, added: &[(&str, &str)]) -> Vec<Sample> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let pairs = labels.trim_end_matches('}').split("\",").filter_map(|pair| pair.split_once("=\""));
        let own = pairs.map(|(name, value)| (name.to_string(), value.trim_end_matches('"').to_string()));
        let added = added.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string()));
        Some(Sample { name: name.to_string(), labels: own.chain(added).collect(), value: value.parse().ok()? })
    };
    lines.filter_map(sample).collect()
}

/// A query that was read.
#[derive(Debug)]
pub(super) struct Query(Expr);

impl FromStr for Query {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        parser::parse(text).map(Self).map_err(|error| anyhow::anyhow!("`{text}`: {error}"))
    }
}

/// A number, or a value for each set of labels.
enum Answer {
    Scalar(f64),
    Vector(Vec<(Labels, f64)>),
}

impl Query {
    /// The one number that the samples answer it with; none where it answers nothing.
    pub(super) fn ask(&self, samples: &[Sample]) -> anyhow::Result<Option<f64>> {
        match evaluate(&self.0, samples)? {
            Answer::Scalar(value) => Ok(Some(value)),
            Answer::Vector(values) => {
                ensure!(values.len() < 2, "{} answers instead of one", values.len());
                Ok(values.first().map(|(_, value)| *value))
            }
        }
    }
}

fn evaluate(expr: &Expr, samples: &[Sample]) -> anyhow::Result<Answer> {
    Ok(match expr {
        Expr::NumberLiteral(number) => Answer::Scalar(number.val),
        Expr::Paren(inner) => evaluate(&inner.expr, samples)?,
        Expr::VectorSelector(selector) => Answer::Vector(select(selector, samples)?),
        Expr::Aggregate(aggregate) => Answer::Vector(combine(aggregate, samples)?),
        Expr::Binary(binary) => calculate(binary, samples)?,
        other => bail!("`{other}` is more than this evaluates"),
    })
}

fn select(selector: &VectorSelector, samples: &[Sample]) -> anyhow::Result<Vec<(Labels, f64)>> {
    ensure!(selector.matchers.or_matchers.is_empty() && selector.offset.is_none(), "`{selector}`");
    let name = selector.name.as_ref().context("a selector without a name")?;
    let fits = |sample: &Sample, matcher: &Matcher| {
        let value = sample.labels.get(&matcher.name).map_or("", String::as_str);
        match &matcher.op {
            MatchOp::Equal => value == matcher.value,
            MatchOp::NotEqual => value != matcher.value,
            MatchOp::Re(pattern) => pattern.is_match(value),
            MatchOp::NotRe(pattern) => !pattern.is_match(value),
        }
    };
    let chosen = samples.iter().filter(|sample| {
        sample.name == *name && selector.matchers.matchers.iter().all(|matcher| fits(sample, matcher))
    });
    Ok(chosen.map(|sample| (sample.labels.clone(), sample.value)).collect())
}

fn combine(aggregate: &AggregateExpr, samples: &[Sample]) -> anyhow::Result<Vec<(Labels, f64)>> {
    let Answer::Vector(values) = evaluate(&aggregate.expr, samples)? else { bail!("`{aggregate}` is of a number") };
    let by = match &aggregate.modifier {
        None => Vec::new(),
        Some(LabelModifier::Include(labels)) => labels.labels.clone(),
        Some(LabelModifier::Exclude(_)) => bail!("`{aggregate}` is more than this evaluates"),
    };
    let mut groups: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, value) in values {
        let group = labels.into_iter().filter(|(name, _)| by.contains(name)).collect();
        let entry = groups.entry(group);
        match aggregate.op.to_string().as_str() {
            "sum" => *entry.or_default() += value,
            "max" => drop(entry.and_modify(|most| *most = most.max(value)).or_insert(value)),
            other => bail!("{other} is more than this evaluates"),
        }
    }
    Ok(groups.into_iter().collect())
}

fn calculate(binary: &BinaryExpr, samples: &[Sample]) -> anyhow::Result<Answer> {
    let (left, right) = (evaluate(&binary.lhs, samples)?, evaluate(&binary.rhs, samples)?);
    let operator = binary.op.to_string();
    let number = |left: f64, right: f64| match operator.as_str() {
        "+" => Ok(left + right),
        "*" => Ok(left * right),
        "/" => Ok(left / right),
        other => bail!("{other} is more than this evaluates"),
    };
    Ok(match (left, right) {
        (Answer::Vector(left), Answer::Vector(right)) if operator == "or" => {
            let more = right.into_iter().filter(|(labels, _)| left.iter().all(|(known, _)| known != labels));
            let more: Vec<_> = more.collect();
            Answer::Vector(left.into_iter().chain(more).collect())
        }
        (Answer::Vector(left), Answer::Vector(right)) => {
            let pairs = left.into_iter().filter_map(|(labels, value)| {
                let (_, other) = right.iter().find(|(known, _)| *known == labels)?;
                Some((labels, value, *other))
            });
            let values = pairs.map(|(labels, left, right)| Ok((labels, number(left, right)?)));
            Answer::Vector(values.collect::<anyhow::Result<_>>()?)
        }
        (Answer::Vector(values), Answer::Scalar(right)) => {
            let values = values.into_iter().map(|(labels, left)| Ok((labels, number(left, right)?)));
            Answer::Vector(values.collect::<anyhow::Result<_>>()?)
        }
        (Answer::Scalar(left), Answer::Vector(values)) => {
            let values = values.into_iter().map(|(labels, right)| Ok((labels, number(left, right)?)));
            Answer::Vector(values.collect::<anyhow::Result<_>>()?)
        }
        (Answer::Scalar(left), Answer::Scalar(right)) => Answer::Scalar(number(left, right)?),
    })
}

#[test]
fn a_query_is_asked_as_prometheus_would() {
    let metrics = "# HELP a\na{source=\"s\",destination=\"d\"} 4\na{source=\"t\",destination=\"d\"} 2\na{destination=\"e\"} 5\nb 30\n";
    let ask = |query: &str| query.parse::<Query>().unwrap().ask(&samples(metrics, &[("namespace", "n")])).unwrap();
    assert_eq!(ask("max(sum by (destination) (a{namespace=\"n\"})) / (16 * 0.5) + max(b) / 10"), Some(3.75));
    assert_eq!(ask("max(a{namespace=\"other\"}) or 0 * max(b)"), Some(0.0));
    assert_eq!(ask("max(nothing)"), None);
}
