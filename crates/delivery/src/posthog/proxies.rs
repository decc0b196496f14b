//! The proxies that the environment names. One that cannot be read would be left out in silence, and all go out directly.

use reqwest::Url;

/// The variables that are looked at.
const VARIABLES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// The first variable of the environment that names no proxy, though it is set. What stands in it may hold a password.
pub(super) fn malformed(variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    VARIABLES.into_iter().find(|name| variable(name).is_some_and(|text| !text.is_empty() && !is_proxy(&text)))
}

fn is_proxy(text: &str) -> bool {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_names_no_proxy_is_named_and_none_that_does() {
        let one =
            |name: &'static str, text: &'static str| malformed(move |asked| (asked == name).then(|| text.to_string()));
        for text in [
            "http://proxy:3128",
            "https://user:p%40ss@proxy.example",
            "proxy.example:3128",
            "10.0.0.1:80",
            "[::1]:3128",
            "",
        ] {
            assert_eq!(one("HTTPS_PROXY", text), None, "{text}");
        }
        for text in
            ["http://", "://proxy", "ftp://proxy", "socks5://proxy:1080", "http://pro xy", "proxy:port", "proxy:99999"]
        {
            assert_eq!(one("https_proxy", text), Some("https_proxy"), "{text}");
        }
    }
}
