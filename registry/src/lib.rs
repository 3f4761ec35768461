//! Where agents find each other by name.
//!
//! This crate is the place of the registry and holds only what a registry keeps about an agent. There is
//! no table to put a [`Registration`] into, no heartbeat and no lookup yet: until they come, agents are
//! called by their endpoint.
//!
//! ```
//! use agentwire_registry::Registration;
//!
//! let endpoint = "unix:///run/agents/weather.sock".parse()?;
//! let registration = Registration::new("weather", endpoint);
//! assert_eq!(registration.name, "weather");
//! # Ok::<(), agentwire_transport::Error>(())
//! ```

mod registration;

pub use registration::Registration;
