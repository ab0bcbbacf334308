//! A stream of messages, as a browser's `EventSource` reads it.

use hyper::body::Incoming;

use http_body_util::BodyExt as _;

/// The messages of an answer's body.
pub struct Messages {
    body: Incoming,
    read: String,
}

impl Messages {
    pub fn of(body: Incoming) -> Messages {
        Messages {
            body,
            read: String::new(),
        }
    }

    /// The next message, and nothing when the stream is over.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((message, rest)) = self.read.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.read = rest;
                // A line that begins with a colon says nothing.
                if !message.starts_with(':') {
                    return Some(message);
                }
                continue;
            }
            let frame = self.body.frame().await?.ok()?;
            let data = frame.into_data().ok()?;
            self.read.push_str(std::str::from_utf8(&data).unwrap());
        }
    }
}

/// What a message says under a name.
pub fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
