use agentwire::Endpoint;

/// Reads an endpoint to listen on.
pub(crate) fn parse_listen_endpoint(text: &str) -> Result<Endpoint, String> {
    let endpoint: Endpoint = text.parse().map_err(|error| format!("{error}"))?;
    match endpoint {
        Endpoint::Memory { .. } => Err(format!(
            "{endpoint} is inside one process, and this process is alone; \
             use unix:///path or tcp://host:port"
        )),
        endpoint => Ok(endpoint),
    }
}

/// Reads an endpoint to connect to.
pub(crate) fn parse_target_endpoint(text: &str) -> Result<Endpoint, String> {
    match parse_listen_endpoint(text)? {
        Endpoint::Tcp { port: 0, .. } => Err(format!(
            "{text:?}: port 0 can be listened on, but not connected to"
        )),
        endpoint => Ok(endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_other_process_can_reach_is_refused() {
        assert!(parse_listen_endpoint("memory://a").is_err());
        assert!(parse_target_endpoint("memory://a").is_err());
        assert!(parse_listen_endpoint("tcp://localhost:0").is_ok());
        assert!(parse_target_endpoint("tcp://localhost:0").is_err());
        assert!(parse_target_endpoint("unix://a.sock").is_ok());
    }
}
