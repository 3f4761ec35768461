//! Parsers for the endpoints on the command line.

use agentwire::Endpoint;

use crate::explain::explain_endpoint;

/// Parses an endpoint to listen on.
pub(crate) fn parse_listen_endpoint(text: &str) -> Result<Endpoint, String> {
    let endpoint: Endpoint = text.parse().map_err(|error| explain_endpoint(&error))?;
    match endpoint {
        Endpoint::Memory { .. } => Err(
            "memory:// endpoints are only reachable within one process; \
             use unix:///path, tcp://host:port or tls://host:port"
                .to_owned(),
        ),
        endpoint => Ok(endpoint),
    }
}

/// Parses an endpoint to connect to.
pub(crate) fn parse_connect_endpoint(text: &str) -> Result<Endpoint, String> {
    match parse_listen_endpoint(text)? {
        endpoint if matches!(endpoint.host_and_port(), Some((_, 0))) => {
            Err(format!("cannot connect to port 0 of {text:?}"))
        }
        endpoint => Ok(endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_no_other_process_can_reach_are_rejected() {
        assert!(parse_listen_endpoint("memory://a").is_err());
        assert!(parse_connect_endpoint("memory://a").is_err());
        assert!(parse_listen_endpoint("tcp://localhost:0").is_ok());
        assert!(parse_connect_endpoint("tcp://localhost:0").is_err());
        assert!(parse_connect_endpoint("unix://./a.sock").is_ok());
    }
}
