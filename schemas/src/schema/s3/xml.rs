//! The texts of an XML document with their paths, which is all that S3's answers are read for.
//! Pure; attributes and comments carry nothing here.

use xmlparser::{ElementEnd, Token, Tokenizer};

/// `(path below the root, text)` of every element that holds a text, in the document's order. A document that breaks off
/// gives what stood before the break.
pub(super) fn texts(document: &str) -> Vec<(String, String)> {
    parts(document).into_iter().flatten().collect()
}

/// As [`texts`], for each child of the root on its own.
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
    fn texts_come_with_their_paths() {
        let document = r#"<?xml version="1.0"?><A xmlns="x"><B><C>1</C><D/></B><B><C> a&amp;b </C></B></A>"#;
        assert_eq!(texts(document), [("B/C".into(), "1".into()), ("B/C".into(), "a&b".into())]);
    }

    #[test]
    fn a_document_that_breaks_off_is_no_error() {
        assert_eq!(texts("<A><B>1</B><C"), [("B".into(), "1".into())]);
        assert_eq!(texts("no xml"), []);
    }

    #[test]
    fn children_of_the_root_can_be_told_apart() {
        let parts = parts("<A><B><C>1</C></B><B><C>2</C><D>3</D></B></A>");
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    }
}
