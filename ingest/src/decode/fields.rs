//! Which JSON field feeds which column: a tree of the mapped paths.
//! Dotted paths go in once; for each record, the spans of those fields come out in their slots. Fields that nobody
//! mapped are checked and passed over.

use super::Reason;
use super::json::{Cursor, Kind, Span};
use super::value::unescape;

/// The mapped fields of one object.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    /// Where its span is kept, if it is mapped itself.
    slot: Option<usize>,
    /// Mapped fields inside it.
    inner: Fields,
}

impl Fields {
    /// Maps `path` (dotted) to `slot`.
    pub(super) fn map(&mut self, path: &str, slot: usize) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let index = self.fields.iter().position(|field| field.name == name).unwrap_or_else(|| {
            self.fields.push(Field { name: name.to_owned(), slot: None, inner: Self::default() });
            self.fields.len() - 1
        });
        match rest {
            Some(rest) => self.fields[index].inner.map(rest, slot),
            None => self.fields[index].slot = Some(slot),
        }
    }

    /// Reads the object at the cursor and fills the slots of its mapped fields.
    pub(super) fn scan(&self, cursor: &mut Cursor<'_>, text: &str, slots: &mut [Option<Span>]) -> Result<Span, Reason> {
        // Producers write fields in one order: the next field is most likely the one after the last.
        let mut likely = 0;
        cursor.object(|cursor, key| {
            let Some(index) = self.find(text, key, likely)? else { return cursor.value().map(drop) };
            likely = index + 1;
            let field = &self.fields[index];
            let span = if !field.inner.fields.is_empty() && cursor.peek()? == b'{' {
                field.inner.scan(cursor, text, slots)?
            } else {
                cursor.value()?
            };
            match field.slot {
                Some(slot) if slots[slot].replace(span).is_some() => Err(Reason::DuplicateField),
                _ => Ok(()),
            }
        })
    }

    fn find(&self, text: &str, key: Span, likely: usize) -> Result<Option<usize>, Reason> {
        let unescaped;
        let name = if key.kind == Kind::Escaped {
            unescaped = unescape(text, key)?;
            unescaped.as_str()
        } else {
            super::value::slice(text, key)
        };
        if self.fields.get(likely).is_some_and(|field| field.name == name) {
            return Ok(Some(likely));
        }
        Ok(self.fields.iter().position(|field| field.name == name))
    }
}
