//! Type-erased layers, for the builder of a server.

use std::sync::Arc;

use super::{Layer, Layered};
use crate::{
    agent::SharedAgent,
    tool::{DynTool, SharedTool},
};

/// The dyn-compatible form of [`Layer`], which is implemented for every layer.
pub(crate) trait DynLayer: Send + Sync {
    fn agent(self: Arc<Self>, agent: SharedAgent) -> SharedAgent;
    fn tool(self: Arc<Self>, tool: Arc<dyn DynTool>) -> Arc<dyn DynTool>;
}

impl<L: Layer> DynLayer for L {
    fn agent(self: Arc<Self>, agent: SharedAgent) -> SharedAgent {
        SharedAgent::new(Layered::new(agent, self))
    }

    fn tool(self: Arc<Self>, tool: Arc<dyn DynTool>) -> Arc<dyn DynTool> {
        Arc::new(Layered::new(SharedTool(tool), self))
    }
}
