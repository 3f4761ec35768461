//! The server's carrier of frames: no files name each other in a circle.

use std::{collections::BTreeSet, path::Path};

use crate::modules::{Sources, circles, graph, read};

#[test]
fn the_files_of_the_carrier_of_frames_form_no_circle() {
    assert_eq!(circles(&graph(&sources())), Vec::<BTreeSet<String>>::new());
}

#[test]
fn a_file_that_names_a_layer_above_forms_a_circle() {
    for (file, line) in [
        ("session::state", "use super::replies::LARGE_REPLY;"),
        ("account", "use super::session::Session;"),
        ("in_flight", "use super::Frames;"),
    ] {
        let mut sources = sources();
        let text = sources.get_mut(&format!("{FRAMES}::{file}")).unwrap();
        *text = format!("{line}\n{text}");
        assert_eq!(circles(&graph(&sources)).len(), 1, "{file}: {line}");
    }
}

fn sources() -> Sources {
    let mut sources = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    sources.retain(|module, _| module.starts_with(FRAMES));
    sources
}

const FRAMES: &str = "server::carrier::frames";
