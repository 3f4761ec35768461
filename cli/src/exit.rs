//! Exit codes and the error type of commands.

use std::{error::Error, fmt, process::ExitCode};

use agentwire::{registry::RegistryError, transport::internal::Untrusted};
use agentwire_codec::ErrorCode;

use crate::{explain::explain, logging};

/// The exit code of the program. The numbers must not change, because scripts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    /// The agent or the registry answered with an error.
    Remote = 1,
    /// The command line is invalid, or the message cannot be encoded.
    Usage = 2,
    /// Connecting or listening failed, or an I/O operation failed, including operations on standard
    /// input and output.
    Unreachable = 3,
    TimedOut = 4,
    /// The peer violated the protocol.
    Protocol = 5,
}

impl Exit {
    /// Returns the exit code for a failed operation on a registry.
    pub(crate) fn of(error: &RegistryError) -> Self {
        match error {
            RegistryError::InvalidName { .. }
            | RegistryError::InvalidRegistration { .. }
            | RegistryError::InvalidQuery { .. }
            | RegistryError::InvalidSetting { .. }
            | RegistryError::Encode { .. } => Self::Usage,
            RegistryError::NoAnswer { .. } => Self::TimedOut,
            RegistryError::InvalidAnswer { .. }
            | RegistryError::AnswerTooLarge { .. }
            | RegistryError::NotARegistry { .. } => Self::Protocol,
            RegistryError::Unavailable { source, .. } => {
                let call = source.downcast_ref::<agentwire::Error>();
                if call.is_some_and(|call| call.is_timeout() && !has_refused(call)) {
                    Self::TimedOut
                } else {
                    Self::Unreachable
                }
            }
            _ => Self::Remote,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The reason why a command ended before it was complete.
#[derive(Debug)]
pub(crate) enum CliError {
    /// There is no error to report. The help was printed, or standard output was closed, as by `|
    /// head`.
    Silent,
    /// An error, which is printed to standard error as one line.
    Reported { exit: Exit, text: String },
}

impl CliError {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self::Reported {
            exit,
            text: text.into(),
        }
    }

    /// Creates an error whose text includes the source chain of `error`.
    pub(crate) fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, explain(error))
    }

    /// Creates an error whose text includes the source chain of `error` and its code.
    fn with_error_code(
        exit: Exit,
        error: &(dyn Error + 'static),
        code: &ErrorCode,
        is_remote: bool,
    ) -> Self {
        let text = explain(error);
        // Errors that occur before anything is sent have no code.
        if is_remote || *code != ErrorCode::INTERNAL_ERROR {
            Self::new(exit, with_code(text, code))
        } else {
            Self::new(exit, text)
        }
    }

    /// Returns the exit code of the program.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Silent => Exit::Success,
            Self::Reported { exit, .. } => *exit,
        }
    }

    /// Prepends a description of the failed operation to the text.
    pub(crate) fn context(self, what: impl fmt::Display) -> Self {
        match self {
            Self::Silent => Self::Silent,
            Self::Reported { exit, text } => Self::new(exit, format!("{what}: {text}")),
        }
    }

    /// Returns the text of the error, or an empty text if there is nothing to report.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Silent => "",
            Self::Reported { text, .. } => text,
        }
    }

    /// Prints the error to standard error and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Silent => Exit::Success.into(),
            Self::Reported { exit, text } => {
                logging::write_message("error", text.trim_end());
                exit.into()
            }
        }
    }
}

impl From<agentwire::Error> for CliError {
    fn from(error: agentwire::Error) -> Self {
        use agentwire::Error::{Register, Registry};
        // Check `is_remote` before `is_timeout`, because an error that the agent sent is a reply
        // even if its code reports a timeout.
        let exit = if let Registry { source, .. } | Register(source) = &error {
            Exit::of(source)
        } else if error.is_remote() {
            Exit::Remote
        } else if error.is_encode() || is_usage(&error) {
            Exit::Usage
        } else if has_refused(&error) {
            Exit::Unreachable
        } else if error.is_timeout() {
            Exit::TimedOut
        } else if error.is_protocol() {
            Exit::Protocol
        } else {
            Exit::Unreachable
        };
        Self::with_error_code(exit, &error, &error.code(), error.is_remote())
    }
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        let is_remote = matches!(error, RegistryError::Remote(_));
        Self::with_error_code(Exit::of(&error), &error, &error.code(), is_remote)
    }
}

/// Appends an error code to a text that does not contain the code.
pub(crate) fn with_code(mut text: String, code: &ErrorCode) -> String {
    let code = Untrusted(code).to_string();
    if !text.contains(&code) {
        text += &format!(" [{code}]");
    }
    text
}

/// Returns true if the call timed out because each attempt to connect failed. The timeout only says
/// how long the client tried.
fn has_refused(error: &agentwire::Error) -> bool {
    use agentwire::{Error::Timeout, Phase::Connecting};
    matches!(
        error,
        Timeout {
            phase: Connecting,
            source: Some(_),
            ..
        }
    )
}

/// Returns true if the error was caused by an invalid argument.
fn is_usage(error: &agentwire::Error) -> bool {
    use agentwire::{
        Error::{InvalidEndpoint, InvalidName, InvalidSetting, Listen},
        transport::Error::MissingFeature,
    };
    matches!(
        error,
        InvalidEndpoint(_) | InvalidName(_) | InvalidSetting { .. } | Listen(MissingFeature { .. })
    )
}
