//! When a request counts as sent, how long MoEngage waits, and how often it tries again.

use std::time::Duration;

/// The rules of one of MoEngage's products.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Which answers count as sent.
    pub success: Success,
    /// The waits before each further attempt; after the last the webhook is lost.
    pub waits: Vec<Duration>,
}

/// Which answers count as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// 200 and nothing else: a 202 is a failure.
    Exactly200,
    /// Any 2xx.
    Any2xx,
}

impl Rules {
    /// A Connector campaign as most workspaces have it: 5 s, exactly 200, one attempt.
    #[must_use]
    pub fn connector() -> Self {
        Self { timeout: Duration::from_secs(5), success: Success::Exactly200, waits: Vec::new() }
    }

    /// A Connector campaign in a workspace with retries: three more, 5 s apart.
    #[must_use]
    pub fn connector_with_retries() -> Self {
        Self { waits: vec![Duration::from_secs(5); 3], ..Self::connector() }
    }

    /// Streams: any 2xx, the whole batch again after 30, 60 and 120 s. MoEngage documents no timeout; 30 s stands for it.
    #[must_use]
    pub fn streams() -> Self {
        let waits = [30, 60, 120].map(Duration::from_secs).to_vec();
        Self { timeout: Duration::from_secs(30), success: Success::Any2xx, waits }
    }

    /// The same with waits this many times as long, so that a test need not take minutes. The timeout stays.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.waits.iter_mut().for_each(|wait| *wait = wait.mul_f64(factor));
        self
    }

    /// The same with another timeout.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Whether a status counts as sent.
    #[must_use]
    pub fn is_sent(&self, status: u16) -> bool {
        match self.success {
            Success::Exactly200 => status == 200,
            Success::Any2xx => (200..300).contains(&status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_counts_200_alone_and_streams_any_2xx() {
        let (connector, streams) = (Rules::connector(), Rules::streams());
        assert!(
            connector.is_sent(200) && !connector.is_sent(201) && !connector.is_sent(202) && !connector.is_sent(204)
        );
        assert!(streams.is_sent(200) && streams.is_sent(202) && streams.is_sent(204) && !streams.is_sent(301));
        assert_eq!(connector.waits, []);
        assert_eq!(Rules::connector_with_retries().waits, [Duration::from_secs(5); 3]);
        assert_eq!(streams.scaled(0.1).waits, [3, 6, 12].map(Duration::from_secs));
    }
}
