//! Generates the client and server of the tonic peer from a definition in Rust, which needs no
//! protoc.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "peers")]
    tonic();
}

#[cfg(feature = "peers")]
fn tonic() {
    use tonic_build::manual::{Builder, Method, MethodBuilder, Service};

    let method = |name, route| -> MethodBuilder {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type("super::super::Request")
            .output_type("super::super::Answer")
            .codec_path("tonic_prost::ProstCodec")
    };
    let echo = Service::builder()
        .name("Echo")
        .package("benches")
        .method(method("process", "Process").build())
        .method(method("stream", "Stream").server_streaming().build())
        .build();
    Builder::new().compile(&[echo]);
}
