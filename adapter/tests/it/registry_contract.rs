//! The contract suite of registries, run by remote ones over every carrier and in both formats.

use crate::common::memory;
use agentwire::{
    Endpoint, Format,
    registry::{LocalRegistry, RegistryConfig, RegistryServer, RemoteRegistry},
};
use agentwire_registry::{contract::Backend, registry_contract};
use tempfile::TempDir;

/// A registry server in this process, and its clients.
struct Served {
    server: RegistryServer,
    format: Format,
    _directory: Option<TempDir>,
}

impl Served {
    async fn on(endpoint: Endpoint, config: RegistryConfig, directory: Option<TempDir>) -> Self {
        let registry = LocalRegistry::with_config(config).unwrap();
        Self {
            server: RegistryServer::serve(registry, endpoint).await.unwrap(),
            format: Format::Json,
            _directory: directory,
        }
    }

    fn client(&self) -> RemoteRegistry {
        let builder = RemoteRegistry::builder(self.server.endpoint()).format(self.format);
        builder.build().unwrap()
    }
}

macro_rules! carriers {
    ($($Carrier:ident: |$test:ident, $config:ident| $start:expr;)*) => {$(
        struct $Carrier(Served);

        impl Backend for $Carrier {
            type Registry = RemoteRegistry;

            async fn start($test: &str, $config: RegistryConfig) -> Self {
                Self($start)
            }

            async fn registry(&self) -> RemoteRegistry {
                self.0.client()
            }
        }
    )*};
}

carriers! {
    Memory: |test, config| Served::on(memory(test), config, None).await;
    MessagePack: |test, config| {
        let mut served = Served::on(memory(test), config, None).await;
        served.format = Format::MessagePack;
        served
    };
    Tcp: |_test, config| {
        Served::on("tcp://127.0.0.1:0".parse().unwrap(), config, None).await
    };
}

registry_contract! { memory_carrier: Memory, message_pack: MessagePack, tcp: Tcp }

#[cfg(unix)]
carriers! {
    Unix: |_test, config| {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::unix(directory.path().join("registry.sock")).unwrap();
        Served::on(endpoint, config, Some(directory)).await
    };
}

#[cfg(unix)]
registry_contract! { unix: Unix }
