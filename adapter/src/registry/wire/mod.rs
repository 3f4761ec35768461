//! What registries say to each other (PROTOCOL 12). Pure: it knows no connections.

mod entry;
mod event;
mod page;

pub(super) use self::{
    entry::{lease, read_lease, read_ref, read_registration, register, text},
    event::{Told, alive, tell},
    page::{Cursor, Page, read_page},
};
