//! JSON pointers (RFC 6901): where in an answer the number of delivered units stands.

/// A pointer, taken apart: `/results/0/items` is three tokens; the empty pointer is the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPointer {
    text: String,
    tokens: Vec<String>,
}

const POINTER_CHARS_MAX: usize = 256;
const TOKENS_MAX: usize = 16;

impl JsonPointer {
    pub fn parse(text: &str) -> Option<JsonPointer> {
        if text.len() > POINTER_CHARS_MAX {
            return None;
        }
        let tokens: Vec<String> = if text.is_empty() {
            Vec::new()
        } else {
            text.strip_prefix('/')?
                .split('/')
                .map(unescape)
                .collect::<Option<_>>()?
        };
        (tokens.len() <= TOKENS_MAX).then(|| JsonPointer {
            text: text.to_owned(),
            tokens,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut plain = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        match c {
            '~' => plain.push(match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            }),
            other => plain.push(other),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_read_as_the_standard_says() {
        let tokens = |text: &str| JsonPointer::parse(text).map(|pointer| pointer.tokens);
        assert_eq!(tokens(""), Some(vec![]));
        assert_eq!(
            tokens("/a~1b/m~0n/0"),
            Some(vec!["a/b".into(), "m~n".into(), "0".into()])
        );
        assert_eq!(tokens("/"), Some(vec![String::new()]));
        assert_eq!(tokens("conversations"), None);
        assert_eq!(tokens("/a~2"), None);
        assert_eq!(tokens(&"/a".repeat(17)), None);
    }
}
