//! Maps JSON fields to columns: a tree of the mapped paths.
//! For each record, it fills the slots of the mapped fields with their spans. Unmapped fields are validated and
//! skipped. It decodes no value.

use super::escape::unescape;
use super::json::{Cursor, Kind, Span, slice};
use super::key::Key;
use super::reason::Reason;

/// The mapped fields of one object.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    key: Key,
    /// The slot of the field's span, if the field itself is mapped.
    slot: Option<usize>,
    /// Mapped fields of the object in this field.
    inner: Fields,
}

impl Fields {
    /// Maps `path` (dotted) to `slot`.
    pub(super) fn map(&mut self, path: &str, slot: usize) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let index = self.fields.iter().position(|field| field.name == name).unwrap_or_else(|| {
            self.fields.push(Field { name: name.to_owned(), key: Key::new(name), slot: None, inner: Self::default() });
            self.fields.len() - 1
        });
        match rest {
            Some(rest) => self.fields[index].inner.map(rest, slot),
            None => self.fields[index].slot = Some(slot),
        }
    }

    /// Each slot with its path.
    pub(super) fn paths(&self) -> Vec<(usize, String)> {
        let path_of = |field: &Field| {
            let inner = field.inner.paths().into_iter().map(|(slot, path)| (slot, format!("{}.{path}", field.name)));
            field.slot.map(|slot| (slot, field.name.clone())).into_iter().chain(inner).collect::<Vec<_>>()
        };
        self.fields.iter().flat_map(path_of).collect()
    }

    /// Reads the object at the cursor and fills the slots of its mapped fields.
    pub(super) fn scan(&self, cursor: &mut Cursor<'_>, text: &str, slots: &mut [Option<Span>]) -> Result<Span, Reason> {
        // Producers usually write fields in the same order: the next field is most likely the one after the previous.
        let mut likely = 0;
        cursor.object(|cursor| {
            let index = match self.fields.get(likely) {
                Some(field) if cursor.skip_key(&field.key)? => Some(likely),
                _ => {
                    let key = cursor.key()?;
                    self.find(text, key, likely)?
                }
            };
            let Some(index) = index else { return cursor.value().map(drop) };
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

    /// Index of the field with this key, searched from `likely` on and then before it.
    fn find(&self, text: &str, key: Span, likely: usize) -> Result<Option<usize>, Reason> {
        let mut unescaped = Vec::new();
        let name = if key.kind == Kind::Escaped {
            unescape(slice(text, key), &mut unescaped)?;
            unescaped.as_slice()
        } else {
            slice(text, key).as_bytes()
        };
        let (before, after) = self.fields.split_at(likely);
        let is_match = |field: &Field| field.name.as_bytes() == name;
        let found_after = after.iter().position(is_match).map(|index| likely + index);
        Ok(found_after.or_else(|| before.iter().position(is_match)))
    }
}
