//! A custom runtime for AWS Lambda in Rust, with the standard library alone: it asks for an event, answers, and asks for
//! the next one. Protocol: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
use std::io::{Read, Write};
use std::net::TcpStream;

/// The head and the body of the Runtime API's answer to one request.
fn ask(api: &str, method: &str, path: &str, body: &str) -> std::io::Result<(String, String)> {
    let mut connection = TcpStream::connect(api)?;
    write!(
        connection,
        "{method} /2018-06-01/runtime/invocation/{path} HTTP/1.0\r\nHost: runtime\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.to_string(), body.to_string()))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn main() -> std::io::Result<()> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").expect("this is started by Lambda");
    loop {
        let (head, event) = ask(&api, "GET", "next", "")?;
        let id = header(&head, "Lambda-Runtime-Aws-Request-Id").expect("an invocation has an id");
        let answer = format!("{{\"language\": \"Rust\", \"event\": {event}}}");
        ask(&api, "POST", &format!("{id}/response"), &answer)?;
    }
}
