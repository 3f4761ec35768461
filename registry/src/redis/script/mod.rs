//! The Lua scripts. Redis runs each script atomically.

use std::sync::LazyLock;

use redis::Script;

pub(super) static REGISTER: LazyLock<Script> =
    LazyLock::new(|| with_common(include_str!("register.lua")));
pub(super) static UNREGISTER: LazyLock<Script> =
    LazyLock::new(|| with_common(include_str!("unregister.lua")));
pub(super) static HEARTBEAT: LazyLock<Script> =
    LazyLock::new(|| with_common(include_str!("heartbeat.lua")));
pub(super) static PAGE: LazyLock<Script> = LazyLock::new(|| with_common(include_str!("page.lua")));
pub(super) static SWEEP: LazyLock<Script> =
    LazyLock::new(|| with_common(include_str!("sweep.lua")));

fn with_common(script: &str) -> Script {
    Script::new(&[include_str!("common.lua"), script].concat())
}
