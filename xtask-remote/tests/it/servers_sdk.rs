//! The same servers as the clients of the production road meet them: the AWS SDK's and the registry's.

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};

use crate::servers::{CloudFront, Dialect, Fault, Moto, PASSWORD, Proxy, Registry, Stack, USER, Versitygw, When};

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The settings of every client, in the words of each service's crate.
macro_rules! configured {
    ($service:ident, $endpoint:expr) => {{
        let (key, secret) = ("canary-access-key", "canary-secret-key");
        let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
        $service::config::Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(key, secret, None, None, "tests"))
            .endpoint_url($endpoint)
            .http_client(http.build_https())
    }};
}

#[test]
fn the_sdk_writes_under_conditions_through_a_proxy() {
    let Some(store) = Versitygw::start("charts") else { return };
    let proxy = Proxy::before(store.port, Dialect::S3);
    let config = configured!(aws_sdk_s3, proxy.url()).force_path_style(true).build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let put = |key: &str, body: &[u8]| {
        let body = ByteStream::from(body.to_vec());
        client.put_object().bucket(&store.bucket).key(key).if_none_match("*").body(body)
    };
    wait(async {
        let large = vec![b'x'; 3 << 20];
        put("large.tgz", &large).send().await.unwrap();
        let error = put("large.tgz", &large).send().await.unwrap_err();
        assert_eq!(error.raw_response().unwrap().status().as_u16(), 412);
        let got = client.get_object().bucket(&store.bucket).key("large.tgz").send().await.unwrap();
        assert!(got.body.collect().await.unwrap().to_vec() == large);
        // The SDK itself tries again what is throttled or cut off.
        proxy.inject(When::asked("PUT", "/busy").nth(1), Fault::Status(503));
        proxy.inject(When::asked("PUT", "/busy").nth(2), Fault::Reset);
        put("busy", b"written").send().await.unwrap();
        assert_eq!(proxy.count("PUT", "/busy"), 3);
        proxy.inject(When::asked("PUT", "/conflict"), Fault::Status(409));
        let error = put("conflict", b"").send().await.unwrap_err();
        assert_eq!(error.code(), Some("ConditionalRequestConflict"));
        proxy.inject(When::asked("GET", "/busy"), Fault::Corrupt);
        let got = client.get_object().bucket(&store.bucket).key("busy").send().await.unwrap();
        assert!(got.body.collect().await.is_err(), "a checksum that is wrong is seen");
    });
}

#[test]
fn the_sdk_reads_the_stack_and_invalidates() {
    let stack = Stack { name: "charts".into(), bucket: "charts".into(), repository: "https://localhost".into() };
    let Some(moto) = Moto::start(&stack) else { return };
    let aws = CloudFront::before(&moto, None);
    let url = aws.proxy.url();
    let stacks = aws_sdk_cloudformation::Client::from_conf(configured!(aws_sdk_cloudformation, &url).build());
    let cdn = aws_sdk_cloudfront::Client::from_conf(configured!(aws_sdk_cloudfront, &url).build());
    let distribution = &moto.distribution;
    wait(async {
        let found = stacks.describe_stacks().stack_name("charts").send().await.unwrap();
        assert_eq!(found.stacks()[0].outputs().len(), 5);
        let error = stacks.describe_stacks().stack_name("other").send().await.unwrap_err();
        assert_eq!(error.code(), Some("ValidationError"));
        aws.slow_down(1, std::time::Duration::ZERO);
        let paths = aws_sdk_cloudfront::types::Paths::builder().quantity(1).items("/index.yaml").build().unwrap();
        let batch = aws_sdk_cloudfront::types::InvalidationBatch::builder().paths(paths).caller_reference("a");
        let create = cdn.create_invalidation().distribution_id(distribution);
        let made = create.invalidation_batch(batch.build().unwrap()).send().await.unwrap();
        let made = made.invalidation().unwrap();
        assert_eq!(made.status(), "InProgress");
        for status in ["InProgress", "Completed"] {
            let got = cdn.get_invalidation().distribution_id(distribution).id(made.id()).send().await.unwrap();
            assert_eq!(got.invalidation().unwrap().status(), status);
        }
        aws.proxy.inject(When::asked("POST", "/invalidation").first(1), Fault::Status(403));
        let error = cdn.create_invalidation().distribution_id(distribution).send().await.unwrap_err();
        assert_eq!(error.code(), Some("AccessDenied"));
    });
}

#[test]
fn the_registrys_client_pushes_with_the_password_and_pulls_without() {
    let Some(registry) = Registry::start() else { return };
    // Whoever makes a client first says which cryptography it has.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = || {
        let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        Client::try_from(config).unwrap()
    };
    let place: Reference = format!("{}/team/demo:1.0.0", registry.name()).parse().unwrap();
    let digest = xtask::oci::Digest::of(b"a layer").to_string();
    wait(async {
        let anybody = client();
        anybody.auth(&place, &RegistryAuth::Anonymous, RegistryOperation::Pull).await.unwrap();
        assert!(anybody.push_blob(&place, b"a layer".to_vec(), &digest).await.is_err());
        let account = RegistryAuth::Basic(USER.into(), PASSWORD.into());
        let publisher = client();
        publisher.auth(&place, &account, RegistryOperation::Push).await.unwrap();
        publisher.push_blob(&place, b"a layer".to_vec(), &digest).await.unwrap();
        assert!(anybody.blob_exists(&place, &digest).await.unwrap());
    });
}
