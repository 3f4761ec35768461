//! tonic, with its own TLS.

use ::tonic::{
    Response, Status,
    transport::{
        Certificate as Root, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
        server::TcpIncoming,
    },
};
use futures_util::{Stream, stream};
use tokio::net::TcpListener;

use super::{
    carriers::{Case, TEXT, in_window},
    certificate::Certificate,
    tonic_messages::{
        Answer, Request,
        generated::{echo_client::EchoClient, echo_server, echo_server::EchoServer},
    },
};

struct Echo;

#[::tonic::async_trait]
impl echo_server::Echo for Echo {
    async fn process(
        &self,
        request: ::tonic::Request<Request>,
    ) -> Result<Response<Answer>, Status> {
        Ok(Response::new(request.into_inner().answer()))
    }

    type StreamStream = std::pin::Pin<Box<dyn Stream<Item = Result<Answer, Status>> + Send>>;

    async fn stream(
        &self,
        _: ::tonic::Request<Request>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        Ok(Response::new(Box::pin(stream::empty())))
    }
}

/// Starts a server, connects to it, and returns the case.
pub(crate) async fn case(name: &'static str, certificate: Option<&Certificate>) -> Case {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut server = Server::builder();
    let mut scheme = "http";
    if let Some(certificate) = certificate {
        let identity = Identity::from_pem(
            certificate.text("server.pem"),
            certificate.text("server.key"),
        );
        let tls = ServerTlsConfig::new().identity(identity);
        server = server.tls_config(tls).expect("a valid pair");
        scheme = "https";
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let router = server.add_service(EchoServer::new(Echo));
    tokio::spawn(router.serve_with_incoming(incoming));
    let target = Endpoint::from_shared(format!("{scheme}://localhost:{port}"));
    let mut target = target.expect("an address");
    if let Some(certificate) = certificate {
        let root = Root::from_pem(certificate.text("ca.pem"));
        let tls = ClientTlsConfig::new().ca_certificate(root);
        target = target.tls_config(tls).expect("a certificate");
    }
    let client = EchoClient::new(target.connect().await.expect("a connection"));
    let call = async |mut client: EchoClient<_>| {
        let request = Request::new("weather", TEXT);
        let answer = client.process(request).await.expect("an answer");
        let content = answer.into_inner().message.unwrap_or_default().content;
        assert_eq!(content, TEXT);
    };
    let lone = client.clone();
    Case::new(
        name,
        move || call(lone.clone()),
        move |calls| {
            let client = client.clone();
            async move { in_window(calls, || call(client.clone())).await }
        },
    )
}
