use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use agentwire::registry::RegistryError;

use crate::one_line::one_line;

/// What the process tells the script that runs it. The numbers are a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    /// The remote agent answered with an error.
    Remote = 1,
    /// The command line is wrong, or the message that it describes cannot be sent.
    Usage = 2,
    /// Cannot connect or listen, or a connection, standard input and output included, was lost.
    Unreachable = 3,
    TimedOut = 4,
    /// The other side broke the protocol.
    Protocol = 5,
}

impl Exit {
    /// What has come of asking a registry.
    pub(crate) fn of(error: &RegistryError) -> Self {
        match error {
            RegistryError::InvalidName { .. }
            | RegistryError::InvalidRegistration { .. }
            | RegistryError::InvalidSetting { .. }
            | RegistryError::Encode { .. } => Self::Usage,
            RegistryError::NoAnswer { .. } => Self::TimedOut,
            RegistryError::InvalidAnswer { .. } | RegistryError::NotARegistry { .. } => {
                Self::Protocol
            }
            RegistryError::Unavailable { source, .. } => {
                let call = source.downcast_ref::<agentwire::Error>();
                match call.is_some_and(agentwire::Error::is_timeout) {
                    true => Self::TimedOut,
                    false => Self::Unreachable,
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

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing to complain about: the help was asked for, or nobody reads standard output any
    /// more, as after `| head`.
    Quiet,
    /// To be told, in one line.
    Told { exit: Exit, text: String },
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self::Told {
            exit,
            text: text.into(),
        }
    }

    /// An error with all that caused it.
    pub(crate) fn from_error(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }

    /// Puts words in front.
    pub(crate) fn while_doing(self, what: impl std::fmt::Display) -> Self {
        match self {
            Self::Quiet => Self::Quiet,
            Self::Told { exit, text } => Self::new(exit, format!("{what}: {text}")),
        }
    }

    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Quiet => Exit::Done.into(),
            Self::Told { exit, text } => {
                // Where standard error is gone too, the exit code still tells.
                let _ = writeln!(io::stderr(), "agentwire: {}", one_line(&text));
                exit.into()
            }
        }
    }
}

impl From<agentwire::Error> for Failure {
    fn from(error: agentwire::Error) -> Self {
        use agentwire::Error::{Register, Registry};
        // An agent's own error comes first: its code may say "timeout", and it is still an answer.
        let exit = if let Registry { source, .. } | Register(source) = &error {
            Exit::of(source)
        } else if error.is_remote() {
            Exit::Remote
        } else if error.is_encode() || is_usage(&error) {
            Exit::Usage
        } else if error.is_timeout() {
            Exit::TimedOut
        } else if error.is_protocol() {
            Exit::Protocol
        } else {
            Exit::Unreachable
        };
        Self::from_error(exit, &error)
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::from_error(Exit::of(&error), &error)
    }
}

/// What the command line asks for cannot be had anywhere.
fn is_usage(error: &agentwire::Error) -> bool {
    use agentwire::Error::{InvalidEndpoint, InvalidName, InvalidSetting};
    matches!(
        error,
        InvalidEndpoint(_) | InvalidName(_) | InvalidSetting { .. }
    )
}

/// An error and its sources, joined by colons.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
