//! The command `token`, which prints a new token.

use agentwire::auth::TokenDigest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    exit::{CliError, Exit},
    output,
};

/// Prints a token with 256 random bits, and its digest for the file of `--auth`.
pub(crate) fn run() -> Result<(), CliError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        CliError::new(
            Exit::Unreachable,
            format!("cannot read random numbers from the system: {error}"),
        )
    })?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let digest = TokenDigest::of(&token).to_hex();
    output::print(format!("token = \"{token}\"\ntoken_sha256 = \"{digest}\"\n").as_bytes())
}
