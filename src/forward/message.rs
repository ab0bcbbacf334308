//! What travels: a line with the sender and their number, and the commands behind it; the answers to just that number.
//!
//! A line is JSON, which has no line break where it is written without any. So what stands behind it is found without reading it.

use serde::{Deserialize, Serialize};

/// Commands of one process, to the leader.
#[derive(Serialize, Deserialize)]
pub(super) struct Commands {
    pub from: u128,
    /// One more with each message, so that none is heeded twice.
    pub number: u64,
    /// By the sender's clock, so that none is heeded that was kept somewhere for long.
    pub sent_at_ms: u64,
    /// It brings no commands, but asks for answers that were still to come to those of an earlier message, which had this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_of: Option<u64>,
}

/// What became of them, if they were taken on: a line for each command that was not answered before, in their order. An empty one is
/// still to come.
#[derive(Serialize, Deserialize)]
pub(super) struct Answers {
    pub to: u128,
    pub number: u64,
    /// `false`: nothing was done for any of them.
    pub taken: bool,
    /// `false`: some answers are still to come, and can be asked for.
    pub whole: bool,
}

/// A line, and what stands behind it.
pub(super) fn write(line: &impl Serialize, behind: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut message = Vec::with_capacity(128 + behind.len());
    serde_json::to_writer(&mut message, line)?;
    message.push(b'\n');
    message.extend_from_slice(behind);
    Ok(message)
}

/// The same, if it begins with such a line.
pub(super) fn read<'a, L: Deserialize<'a>>(message: &'a str) -> Option<(L, &'a str)> {
    let (line, behind) = message.split_once('\n')?;
    Some((serde_json::from_str(line).ok()?, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_line_is_found_as_it_was() {
        let line = Answers {
            to: u128::MAX,
            number: 7,
            taken: true,
            whole: true,
        };
        for behind in ["", "[]", "{\"a\":\"\\n\"}\n{}\n"] {
            let message = String::from_utf8(write(&line, behind.as_bytes()).unwrap()).unwrap();
            let (read, found) = read::<Answers>(&message).unwrap();
            assert_eq!((read.to, read.number, read.taken, found), (u128::MAX, 7, true, behind));
        }
    }

    #[test]
    fn what_does_not_begin_with_its_line_is_no_message() {
        let commands = "{\"from\":1,\"number\":2,\"sent_at_ms\":3}";
        assert!(read::<Commands>(commands).is_none(), "no line break");
        let answers = format!("{commands}\n[]");
        assert!(read::<Commands>(&answers).is_some() && read::<Answers>(&answers).is_none());
        assert!(read::<Commands>("\n[]").is_none());
    }
}
