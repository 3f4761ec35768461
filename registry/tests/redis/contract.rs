//! The contract suite against Redis.

use agentwire_registry::{
    RedisRegistry, RegistryConfig, contract, contract::Backend, registry_contract,
};

use super::{RedisServer, within};

struct Redis {
    server: RedisServer,
    config: RegistryConfig,
}

impl Backend for Redis {
    type Registry = RedisRegistry;

    async fn start(_: &str, config: RegistryConfig) -> Self {
        let server = RedisServer::start().await;
        Self { server, config }
    }

    async fn registry(&self) -> RedisRegistry {
        let builder = self.server.builder().config(self.config.clone());
        within(builder.connect()).await.expect("connect")
    }
}

registry_contract! { redis: super::Redis }

#[tokio::test]
async fn an_administrator_removes_any_registration() {
    let redis = Redis::start("authority", RegistryConfig::new()).await;
    contract::an_administrator_removes_any_registration(&redis.registry().await).await;
}
