//! `sluicegen healthcheck`, as a container engine runs it.

use std::process::Output;

use tokio::{net::TcpListener, process::Command};

use super::Generator;

async fn check(arguments: &[&str], variable: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegen"));
    command.arg("healthcheck").args(arguments);
    if let Some(addr) = variable {
        command.env("SLUICEGEN_ADDR", addr);
    }
    command.output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_without_its_target_answers_and_one_that_is_gone_does_not() {
    let generator = Generator::serve("--target http://127.0.0.1:1 --start").await;
    let addr = generator.server.addr();
    for (arguments, variable) in [
        (vec!["--addr".to_owned(), addr.to_string()], None),
        // As the generator itself was told.
        (vec![], Some(format!("0.0.0.0:{}", addr.port()))),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = check(&arguments, variable.as_deref()).await;
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
    generator.server.close().await;
    let output = check(&["--addr", &addr.to_string()], None).await;
    let reason = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{reason}");
    let expected = format!("sluicegen: no generator answers at {addr} (--addr): ");
    assert!(reason.starts_with(&expected), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_that_hangs_is_not_waited_for_longer_than_asked() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let output = check(&["--addr", &addr, "--patience", "200ms"], None).await;
    let reason = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{reason}");
    assert!(reason.contains("no answer in time"), "{reason}");
    let wrong = check(&["--addr", "nowhere"], None).await;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}
