//! A GET, and nothing more.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Status code and JSON body.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> std::io::Result<(u16, serde_json::Value)> {
    let (status, body) = text(addr, path).await?;
    Ok((status, serde_json::from_str(&body)?))
}

/// Status code and body.
pub(crate) async fn text(addr: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.unwrap_or_default(), body.to_owned()))
}
