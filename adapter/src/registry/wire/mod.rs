//! The wire format of registries (PROTOCOL 12). This module does not perform I/O.

mod entry;
mod event;
mod page;

pub(super) use self::{
    entry::{encode_lease, encode_registration, read_lease, read_ref, read_registration, text},
    event::{WatchChunk, encode_change, keep_alive, snapshot_part},
    page::{Cursor, Page, read_page},
};
