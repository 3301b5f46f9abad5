//! The text nodes of an XML document with their paths, which is all that S3's responses are read for.
//! Parsing ignores attributes and comments and performs no I/O.

use xmlparser::{ElementEnd, Token, Tokenizer};

/// `(path below the root, text)` of every element that contains text, in document order. A truncated document yields
/// what precedes the truncation.
pub(super) fn texts(document: &str) -> Vec<(String, String)> {
    parts(document).into_iter().flatten().collect()
}

/// Like [`texts`], grouped by child of the root.
pub(super) fn parts(document: &str) -> Vec<Vec<(String, String)>> {
    let mut path: Vec<&str> = Vec::new();
    let mut parts: Vec<Vec<(String, String)>> = Vec::new();
    for token in Tokenizer::from(document).map_while(Result::ok) {
        match token {
            Token::ElementStart { local, .. } => {
                if path.len() == 1 {
                    parts.push(Vec::new());
                }
                path.push(local.as_str());
            }
            Token::ElementEnd { end: ElementEnd::Empty | ElementEnd::Close(..), .. } => drop(path.pop()),
            Token::Text { text } if !text.trim().is_empty() => {
                let text = (path.get(1..).unwrap_or_default().join("/"), unescape(text.trim()));
                parts.last_mut().into_iter().for_each(|part| part.push(text.clone()));
            }
            _ => {}
        }
    }
    parts
}

fn unescape(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    entities.into_iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_paths() {
        let document = r#"<?xml version="1.0"?><A xmlns="x"><B><C>1</C><D/></B><B><C> a&amp;b </C></B></A>"#;
        assert_eq!(texts(document), [("B/C".into(), "1".into()), ("B/C".into(), "a&b".into())]);
    }

    #[test]
    fn a_truncated_document_is_not_an_error() {
        assert_eq!(texts("<A><B>1</B><C"), [("B".into(), "1".into())]);
        assert_eq!(texts("no xml"), []);
    }

    #[test]
    fn texts_are_grouped_by_child_of_the_root() {
        let parts = parts("<A><B><C>1</C></B><B><C>2</C><D>3</D></B></A>");
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    }
}
